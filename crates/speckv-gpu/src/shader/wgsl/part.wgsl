// What is known of a part of a row of logits.
struct Part {
    token: u32,
    largest: f32,
    second: f32,
    weights: f32, // sum of e^d
    moments: f32, // sum of d e^d
    broken: u32,  // 1 if a logit is a NaN or plus infinity
    unused0: u32,
    unused1: u32,
}
