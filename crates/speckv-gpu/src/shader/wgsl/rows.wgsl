// One row of a pass: a token of a sequence.
struct Row {
    position: u32, // number of tokens before it in its sequence
    slot: u32,     // where the cache keeps its key and value
    start: u32,    // first position whose slot `paths` says; earlier ones are at their position
    path: u32,     // where its slots from `start` on begin in `paths`
}
