// Keys and values as signed bytes with a scale per 32 dimensions. Keys lie as weights do, so that
// 32 lanes read 32 positions side by side: [slot / 32, key-value head], and there
// [dimension / 16, slot % 32], 16 bytes each, then [dimension / 32, slot % 32], a scale each.
// Values lie as they come: [slot, key-value head], and there [dimension], then a scale per 32.

// Words of a head's key, or value, at one position: bytes, then scales.
const BYTE_WORDS = {HEAD_DIM}u / 4u;
const HEAD_WORDS = BYTE_WORDS + {HEAD_DIM}u / 32u;

// First word of 32 slots of a head's keys.
fn key_block(slot: u32, kv_head: u32, kv_heads: u32) -> u32 {
    return (slot / 32u * kv_heads + kv_head) * (32u * HEAD_WORDS);
}

// Word i of a key: of four dimensions, or from `BYTE_WORDS` on a scale.
fn key_word(slot: u32, kv_head: u32, kv_heads: u32, i: u32) -> u32 {
    let block = key_block(slot, kv_head, kv_heads);
    if (i < BYTE_WORDS) {
        return block + (i / 4u * 32u + slot % 32u) * 4u + i % 4u;
    }
    return block + i * 32u + slot % 32u;
}
