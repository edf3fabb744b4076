//! The same bits on every machine: tiny models of every family give the logits that an x86-64
//! machine gave. Hashes were made there by this test with `SPECKV_PRINT_HASHES=1`; the portable
//! path, AVX2 and AVX-512 agreed on them.

use std::{num::NonZeroUsize, sync::Arc};

use speckv::{
    logits::Logits,
    model::{Feed, LanguageModel},
};
use speckv_cpu::{
    kernels::Isa,
    model::{CacheType, CpuModel, LoadOptions},
    pool::Pool,
};
use speckv_formats::{compression::Compression, gguf::Gguf, quant::TensorType, tiny::Tiny};

/// A model, how it is loaded, and the hash of its logits.
struct Case {
    name: &'static str,
    tiny: Tiny,
    cache_type: CacheType,
    compression: Compression,
    hash: u64,
}

/// FNV-1a over bytes.
fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn cases() -> Vec<Case> {
    let small = Tiny { head_dim: Some(32), ..Tiny::default() };
    let wide = Tiny { hidden: 256, feed_forward: 512, layers: 1, ..Tiny::default() };
    let with = |name, tiny: Tiny, hash| Case {
        name,
        tiny,
        cache_type: CacheType::F16,
        compression: Compression::AsIs,
        hash,
    };
    let typed = |tensor_type| Tiny { tensor_type, ..wide.clone() };
    let qwen3 = Tiny { architecture: "qwen3", tensor_type: TensorType::F16, ..small.clone() };
    let gemma = Tiny { architecture: "gemma3", layers: 7, tied: true, ..small.clone() };
    vec![
        with("llama", small.clone(), 0x6490_b56b_d44f_049e),
        with(
            "llama with factors",
            Tiny { rope_factors: true, ..small.clone() },
            0xba95_d57a_b9b0_79ce,
        ),
        with(
            "qwen2",
            Tiny { architecture: "qwen2", biases: true, ..small.clone() },
            0x130b_c897_2435_1beb,
        ),
        with("qwen3", qwen3, 0x39d0_f438_8357_c940),
        with("gemma3", gemma, 0xf23e_06a4_74ae_b2da),
        Case { cache_type: CacheType::Q8_0, ..with("bytes", small.clone(), 0xbcea_7575_3520_aab4) },
        Case { compression: Compression::Nf4, ..with("NF4", wide.clone(), 0x9d22_580f_49c0_cf95) },
        with("Q4_0", typed(TensorType::Q4_0), 0x5563_c7b0_8de0_6e4e),
        with("Q5_1", typed(TensorType::Q5_1), 0xecca_afe0_48b0_e8d2),
        with("Q2_K", typed(TensorType::Q2K), 0x48d2_d95c_98fc_ae70),
        with("Q4_K", typed(TensorType::Q4K), 0xb4bc_f784_0373_4912),
        with("Q6_K", typed(TensorType::Q6K), 0xd422_417d_d9e8_5bb7),
        with("BF16", typed(TensorType::BF16), 0x55cd_18d9_ce5a_dc0d),
    ]
}

/// Hash of the logits of 40 tokens, fed in passes of 1 to 9.
fn hash_of(case: &Case, isa: Isa) -> u64 {
    let file = Arc::new(Gguf::from_bytes(case.tiny.to_bytes().unwrap()).unwrap());
    let pool = Arc::new(Pool::new(NonZeroUsize::new(2).unwrap()).unwrap());
    let options = LoadOptions {
        isa: Some(isa),
        cache_type: case.cache_type,
        compression: case.compression,
        ..LoadOptions::new(pool)
    };
    let model = CpuModel::load(&file, &options, &mut |_| {}).unwrap();
    let tokens: Vec<u32> = (0..40).map(|i| (i * i * 7 + 3) % 250).collect();
    let (mut cache, mut logits) = (model.new_cache().unwrap(), Logits::new());
    let (mut bytes, mut rest) = (Vec::new(), tokens.as_slice());
    for size in (1..=9).cycle() {
        let (fed, after) = rest.split_at(size.min(rest.len()));
        model.forward(&mut [Feed::new(&mut cache, fed, fed.len())], &mut logits).unwrap();
        for row in 0..fed.len() {
            bytes.extend(logits.row(row).iter().flat_map(|x| x.to_bits().to_le_bytes()));
        }
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    hash(bytes)
}

#[test]
fn every_family_gives_the_same_bits_on_every_machine() {
    let print = std::env::var_os("SPECKV_PRINT_HASHES").is_some();
    for case in cases() {
        for &isa in Isa::available() {
            let got = hash_of(&case, isa);
            if print {
                println!("{} on {isa}: {got:#018x}", case.name);
            } else {
                assert_eq!(got, case.hash, "{} on {isa}: {got:#018x}", case.name);
            }
        }
    }
}
