// Weights that are floats, multiplied with exact activations: multiply-adds in the order of the
// columns.
//!use float_weights

@group(0) @binding(6) var<storage, read> exact: array<vec4<f32>>;

fn dotted(total: f32, w: vec4<f32>, x: vec4<f32>) -> f32 {
    return fma(w.w, x.w, fma(w.z, x.z, fma(w.y, x.y, fma(w.x, x.x, total))));
}
