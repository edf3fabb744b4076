// activation(gate) * up
fn gated(gate: f32, up: f32) -> f32 {
    //!if SILU
    let x = -gate;
    //!else
    // (1 + tanh u) / 2 = 1 / (1 + e^(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3)
    let x = -1.595769 * (gate * fma(0.044715 * gate, gate, 1.0));
    //!end
    let value = gate * reciprocal(1.0 + exponential(x)) * up;
    return select(value, gate * up, is_broken(gate) || is_broken(up));
}
