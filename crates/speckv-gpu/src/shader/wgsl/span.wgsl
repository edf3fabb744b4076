// Which rows of a pass a dispatch works on. One of these per feed, at a dynamic offset.
struct Span {
    first: u32,  // first row
    rows: u32,   // number of rows
    chunks: u32, // chunks of positions that the scratch memory of attention has room for
    to: u32,     // row that the first gathered row goes to
}

@group(0) @binding(0) var<uniform> span: Span;
