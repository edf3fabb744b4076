//! GGUF files: header, metadata, tokenizer, chat template, layout and weights.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use speckv_formats::{
    chat_template::{ChatTemplate, Message},
    checkpoint::Checkpoint,
    gguf::Gguf,
    quant::Rows,
    weights::Layout,
};

fuzz_target!(|data: &[u8]| {
    let Ok(file) = Gguf::from_bytes(data.to_vec()) else { return };
    let checkpoint = Checkpoint::from(Arc::new(file));
    if let Ok(config) = checkpoint.config()
        && let Ok(layout) = Layout::new(&checkpoint, &config)
    {
        let _ = layout.names();
        for tensor in checkpoint.contents() {
            let mut row = vec![0.0; tensor.shape()[0]];
            let _ = tensor.read(0, &mut row);
        }
    }
    if let Ok(tokenizer) = checkpoint.tokenizer() {
        speckv_fuzz::use_tokenizer(&tokenizer);
        if let Ok(template) = checkpoint.chat_template(&tokenizer) {
            let _ = template.render(&[Message::new("user", "hello")], true);
        }
        let _ = ChatTemplate::fallback(&tokenizer);
    }
});
