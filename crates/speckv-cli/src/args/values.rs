//! Single values of the command line: their ranges, and a hint where a value is outside.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

use clap::builder::{OsStringValueParser, TypedValueParser};
use speckv::token::Token;
use speckv_local::{
    backend::CacheType,
    controllers::{self, ControllerSpec, MAX_GAMMA},
    draft_choice::DraftChoice,
};

/// How keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvChoice(pub CacheType);

impl FromStr for KvChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [CacheType::F16, CacheType::Q8_0];
        let found = all.into_iter().find(|cache| cache.name() == text);
        found.map(KvChoice).ok_or_else(|| {
            format!(
                "expected f16 or q8_0, got {text:?}\nhint: q8_0 takes about half the memory \
                and rounds a little"
            )
        })
    }
}

/// Controllers by name.
#[derive(Debug, Clone, PartialEq)]
pub struct ControllerList(pub Vec<ControllerSpec>);

impl std::ops::Deref for ControllerList {
    type Target = [ControllerSpec];

    fn deref(&self) -> &[ControllerSpec] {
        &self.0
    }
}

/// Parser of a list of controllers: names separated by commas, or `all`.
pub(super) fn controller_list(text: &str) -> Result<ControllerList, String> {
    let more = ["entropy:adaedl", "chain+fixed", "chain+speckv"];
    let names: Vec<&str> = match text {
        "all" => ControllerSpec::NAMES.into_iter().chain(more).collect(),
        list => list.split(',').map(str::trim).collect(),
    };
    names.into_iter().map(controllers::parse).collect::<Result<_, _>>().map(ControllerList)
}

/// Gammas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GammaList(pub Vec<usize>);

/// Parser of a list of gammas: numbers separated by commas, or `none`.
pub(super) fn gamma_list(text: &str) -> Result<GammaList, String> {
    if text == "none" {
        return Ok(GammaList(Vec::new()));
    }
    text.split(',').map(|part| gamma()(part.trim())).collect::<Result<_, _>>().map(GammaList)
}

/// Parser of the gammas of a grid: rising numbers separated by commas, 0 for plain decoding.
pub(super) fn grid_gammas(text: &str) -> Result<GammaList, String> {
    let one = whole(0..=MAX_GAMMA, "0 is plain decoding; 0,2,4,6,8 is the paper's grid with it");
    let mut list = text.split(',').map(|part| one(part.trim())).collect::<Result<Vec<_>, _>>()?;
    list.sort_unstable();
    list.dedup();
    Ok(GammaList(list))
}

/// Token ids separated by commas or spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenList(pub Vec<Token>);

impl FromStr for TokenList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ids: Result<Vec<Token>, String> = text
            .split([',', ' ', '\n'])
            .map(str::trim)
            .filter(|id| !id.is_empty())
            .map(|id| {
                id.parse()
                    .map_err(|_| format!("{id:?} is not a token id\nhint: write ids as 1,2,3"))
            })
            .collect();
        match ids? {
            ids if ids.is_empty() => {
                Err("expected at least one token id\nhint: write ids as 1,2,3".into())
            }
            ids => Ok(TokenList(ids)),
        }
    }
}

/// Parser of a whole number in a range.
pub(super) fn whole<T>(
    range: RangeInclusive<T>,
    hint: &'static str,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let value = text.parse::<T>().ok().filter(|value| range.contains(value));
        value.ok_or_else(|| {
            format!(
                "expected a whole number from {} to {}, got {text:?}\nhint: {hint}",
                range.start(),
                range.end()
            )
        })
    }
}

/// Parser of a finite number that passes a test; `range` says the test in words.
pub(super) fn number(
    range: &'static str,
    test: fn(f32) -> bool,
    hint: &'static str,
) -> impl Fn(&str) -> Result<f32, String> + Clone + Send + Sync + 'static {
    move |text| {
        let value = text.parse::<f32>().ok().filter(|value| value.is_finite() && test(*value));
        value.ok_or_else(|| format!("expected a number {range}, got {text:?}\nhint: {hint}"))
    }
}

/// Parser of gamma.
pub(super) fn gamma() -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    whole(
        1..=MAX_GAMMA,
        "gamma is the number of tokens a step may draft; 4 is a good start, `--draft none` turns \
         drafting off",
    )
}

/// Parser of what drafts; paths need not be UTF-8.
pub(super) fn draft() -> impl TypedValueParser<Value = DraftChoice> {
    OsStringValueParser::new().try_map(|text| DraftChoice::try_from(text.as_os_str()))
}

/// Parser of a number of threads.
pub(super) fn threads() -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    whole(1..=1024_usize, "as many threads as cores is a good start")
}

/// Parser of a number of built-in prompts.
pub(super) fn prompts() -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    whole(1..=crate::identity_prompts::TEXTS.len(), "there are that many built-in prompts")
}

/// Parser of the length of an answer that is compared.
pub(super) fn identity_tokens()
-> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    whole(1..=4096_usize, "128 is a good start")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_their_range_are_refused_with_expected_got_and_hint() {
        let gamma = whole(1..=64_usize, "4 is a good start");
        assert_eq!(gamma("64"), Ok(64));
        for wrong in ["0", "65", "-1", "four", "4.0", ""] {
            let message = gamma(wrong).expect_err(wrong);
            assert!(
                message.contains("from 1 to 64")
                    && message.contains(wrong)
                    && message.contains("\nhint: ")
            );
        }
        let top_p = number("above 0, at most 1", |p| p > 0.0 && p <= 1.0, "1 keeps all");
        assert_eq!(top_p("0.95"), Ok(0.95));
        for wrong in ["0", "1.01", "NaN", "inf", "-0.5", "much"] {
            assert!(top_p(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn token_lists_take_commas_and_spaces_and_refuse_the_rest() {
        assert_eq!("1,2, 3".parse(), Ok(TokenList(vec![1, 2, 3])));
        for wrong in ["", ",", "1,x", "-1", "4294967296"] {
            assert!(wrong.parse::<TokenList>().is_err(), "{wrong}");
        }
    }
}
