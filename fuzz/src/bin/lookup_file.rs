//! Bytes of a look-up file before its checksum: texts of the vocabulary or an error, and what was
//! read is written again as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use speckv_serve::lookup_file::{Contents, Vocabulary};

const VOCABULARY: Vocabulary = Vocabulary { size: 1000, digest: [7; 32] };

fuzz_target!(|body: &[u8]| {
    let Ok(contents) = Contents::from_body(body, &VOCABULARY) else { return };
    for scope in &contents.scopes {
        assert!(scope.texts.iter().flatten().all(|&token| token < VOCABULARY.size));
    }
    let bytes = contents.to_bytes(&VOCABULARY);
    assert_eq!(&bytes[..bytes.len() - 32], body);
    assert_eq!(Contents::from_bytes(&bytes, &VOCABULARY), Ok(contents));
});
