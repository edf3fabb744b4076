//! Eight scales and eight minima of six bits in twelve bytes, as Q4_K and Q5_K store them.
//!
//! Bytes 0 to 3 hold scales 0 to 3 and bytes 4 to 7 minima 0 to 3, in their low six bits. Byte 8 +
//! j holds the low four bits of scale 4 + j in its low half and those of minimum 4 + j in its high
//! half; the upper two bits of these are the upper two bits of byte j (scale) and byte 4 + j
//! (minimum).

/// Scales and minima, 0 to 63 each.
pub(super) fn unpack(bytes: &[u8]) -> ([u8; 8], [u8; 8]) {
    let (mut scales, mut mins) = ([0; 8], [0; 8]);
    for j in 0..4 {
        scales[j] = bytes[j] & 63;
        mins[j] = bytes[4 + j] & 63;
        scales[4 + j] = (bytes[8 + j] & 15) | (bytes[j] >> 6 << 4);
        mins[4 + j] = (bytes[8 + j] >> 4) | (bytes[4 + j] >> 6 << 4);
    }
    (scales, mins)
}

/// The bytes of scales and minima, of which the low six bits are taken.
pub(super) fn pack(scales: &[u8; 8], mins: &[u8; 8]) -> [u8; 12] {
    let mut bytes = [0; 12];
    for j in 0..4 {
        bytes[j] = (scales[j] & 63) | (scales[4 + j] >> 4 << 6);
        bytes[4 + j] = (mins[j] & 63) | (mins[4 + j] >> 4 << 6);
        bytes[8 + j] = (scales[4 + j] & 15) | (mins[4 + j] << 4);
    }
    bytes
}
