//! A folder's tokenizer as metadata.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::{ConvertError, probe};
use crate::{
    checkpoint::Folder,
    gguf::Value,
    quant::Rows,
    tokenizer::{Model, TokenType, Tokenizer, Vocabulary, pre_tokenizers},
};

const EMBEDDING: &str = "token_embd.weight";

/// The keys of a folder's tokenizer: those under which the same texts become the same tokens, which
/// is tried before they are given out.
pub(super) fn keys(folder: &Folder) -> Result<Vec<(String, Value)>, ConvertError> {
    let cannot = |why: String| ConvertError::Tokenizer { folder: folder.path().to_owned(), why };
    let path = folder.path().join("tokenizer.json");
    let theirs = Tokenizer::from_json_file(&path)?;
    let text = std::fs::read(&path).map_err(|error| cannot(error.to_string()))?;
    let json: Json = serde_json::from_slice(&text).map_err(|error| cannot(error.to_string()))?;
    let kind = json["model"]["type"].as_str().unwrap_or("BPE");
    if kind != "BPE" {
        return Err(cannot(format!("expected byte-pair encoding, got {kind}")));
    }
    let merges =
        merges(&json).ok_or_else(|| cannot("expected merges as pairs of token texts".into()))?;
    let mut base = base(folder, &theirs);
    base.nfc = is_nfc(&json["normalizer"]);
    let spelled_in_bytes = json["decoder"].to_string().contains("\"ByteLevel\"");
    for model in models(folder, &base, &merges, spelled_in_bytes) {
        let vocabulary = Vocabulary { model, ..base.clone() };
        let Ok(ours) = Tokenizer::from_vocabulary(vocabulary.clone()) else { continue };
        if probe::agree(&ours, &theirs) && ours.end_tokens() == theirs.end_tokens() {
            return Ok(written(vocabulary));
        }
    }
    Err(cannot(
        "no way of cutting and merging text that GGUF has a name for gives the same tokens".into(),
    ))
}

/// Texts, types and ends; the vocabulary is filled up to the size of the embedding, as the format's
/// readers expect.
fn base(folder: &Folder, theirs: &Tokenizer) -> Vocabulary {
    let rows = folder.stored(EMBEDDING).and_then(|tensor| tensor.shape().get(1).copied());
    let size = theirs.vocab_size().max(rows.unwrap_or(0));
    let known = |token: usize| {
        let token = token as u32;
        let kind = theirs.token_type(token).filter(|kind| *kind != TokenType::Unused)?;
        Some((theirs.token_text(token)?.to_owned(), kind))
    };
    let (tokens, types) = (0..size)
        .map(|token| known(token).unwrap_or_else(|| (format!("[PAD{token}]"), TokenType::Unused)))
        .unzip();
    let around = theirs.encode("", true, true).unwrap_or_default();
    let (bos, eos) = (theirs.bos(), theirs.eos());
    let add_bos = bos.is_some() && around.first().copied() == bos;
    Vocabulary {
        tokens,
        types,
        model: Model::ByteLevel { merges: Vec::new(), pre: String::new() },
        nfc: false,
        bos,
        eos,
        unknown: (0..size as u32)
            .find(|&token| theirs.token_type(token) == Some(TokenType::Unknown)),
        end_tokens: theirs
            .end_tokens()
            .iter()
            .copied()
            .filter(|&token| Some(token) != eos)
            .collect(),
        add_bos,
        add_eos: eos.is_some()
            && around.len() > usize::from(add_bos)
            && around.last().copied() == eos,
    }
}

/// Whether the normalizer is NFC and nothing else.
fn is_nfc(normalizer: &Json) -> bool {
    match normalizer["type"].as_str() {
        Some("NFC") => true,
        Some("Sequence") => match normalizer["normalizers"].as_array().map(Vec::as_slice) {
            Some([one]) => is_nfc(one),
            _ => false,
        },
        _ => false,
    }
}

/// "a b" or ["a", "b"], as versions of the library write them.
fn merges(json: &Json) -> Option<Vec<String>> {
    let pair = |merge: &Json| match merge {
        Json::String(pair) => Some(pair.clone()),
        Json::Array(pair) => match pair.as_slice() {
            [Json::String(a), Json::String(b)] => Some(format!("{a} {b}")),
            _ => None,
        },
        _ => None,
    };
    json["model"]["merges"].as_array()?.iter().map(pair).collect()
}

/// What may be the same: of byte-level vocabularies every way of cutting, that of the family first;
/// of SentencePiece's, with and without the leading space.
fn models(
    folder: &Folder,
    base: &Vocabulary,
    merges: &[String],
    spelled_in_bytes: bool,
) -> Vec<Model> {
    if !spelled_in_bytes {
        let scores = scores(base, merges);
        return [true, false]
            .map(|add_space_prefix| Model::SentencePiece {
                scores: scores.clone(),
                add_space_prefix,
            })
            .into();
    }
    let usual = match folder.config().architecture.as_str() {
        "llama" => "llama-bpe",
        _ => "qwen2",
    };
    let names =
        std::iter::once(usual).chain(pre_tokenizers().into_iter().filter(|&name| name != usual));
    names.map(|pre| Model::ByteLevel { merges: merges.to_vec(), pre: pre.to_owned() }).collect()
}

/// SentencePiece joins what has the highest score first; merges come in that order.
fn scores(base: &Vocabulary, merges: &[String]) -> Vec<f32> {
    let mut ranks: HashMap<String, usize> = HashMap::new();
    for (rank, merge) in merges.iter().enumerate() {
        ranks.entry(merge.replacen(' ', "", 1)).or_insert(rank);
    }
    let last = merges.len();
    let score = |text: &String| -(*ranks.get(text).unwrap_or(&last) as f32);
    base.tokens.iter().map(score).collect()
}

/// The entries that [`Vocabulary::from_gguf`] reads.
fn written(vocabulary: Vocabulary) -> Vec<(String, Value)> {
    let Vocabulary { tokens, types, model, nfc, bos, eos, unknown, .. } = vocabulary;
    let Vocabulary { end_tokens, add_bos, add_eos, .. } = vocabulary;
    let mut entries: Vec<(&str, Value)> = Vec::new();
    match model {
        Model::ByteLevel { merges, pre } => {
            entries.extend([
                ("model", "gpt2".into()),
                ("pre", pre.into()),
                ("merges", merges.into()),
            ]);
        }
        Model::SentencePiece { scores, add_space_prefix } => {
            entries.extend([
                ("model", "llama".into()),
                ("scores", scores.into()),
                ("add_space_prefix", add_space_prefix.into()),
            ]);
        }
    }
    if nfc {
        entries.push(("normalizer", "NFC".into()));
    }
    entries.push(("tokens", tokens.into()));
    entries.push((
        "token_type",
        types.into_iter().map(|kind| kind as i32).collect::<Vec<i32>>().into(),
    ));
    let named = [("bos_token_id", bos), ("eos_token_id", eos), ("unknown_token_id", unknown)];
    entries.extend(named.into_iter().filter_map(|(name, token)| Some((name, token?.into()))));
    if !end_tokens.is_empty() {
        entries.push(("eos_token_ids", end_tokens.into()));
    }
    entries.extend([("add_bos_token", add_bos.into()), ("add_eos_token", add_eos.into())]);
    entries.into_iter().map(|(name, value)| (format!("tokenizer.ggml.{name}"), value)).collect()
}
