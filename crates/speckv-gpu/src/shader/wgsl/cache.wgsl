// Keys lie as weights do, so that 32 lanes read 32 positions side by side:
// [slot / 32, key-value head, dimension / 8, slot % 32], eight halves each.
// Values lie as they come: [slot, key-value head, dimension].

// Words of a head's key, or value, at one position.
const HEAD_WORDS = {HEAD_DIM}u / 2u;

// Word of the pair of dimensions 2 i and 2 i + 1 of a key.
fn key_word(slot: u32, kv_head: u32, kv_heads: u32, i: u32) -> u32 {
    return (((slot / 32u * kv_heads + kv_head) * ({HEAD_DIM}u / 8u) + i / 4u) * 32u + slot % 32u)
        * 4u + i % 4u;
}
