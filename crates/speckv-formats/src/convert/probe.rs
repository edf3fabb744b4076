//! Texts that tell tokenizers apart.

use crate::tokenizer::Tokenizer;

/// Texts on which ways of cutting, merging and spelling differ: runs of spaces and digits,
/// contractions, letters of many scripts, marks, signs, line ends, control tokens' neighbours.
const TEXTS: [&str; 14] = [
    "Hello, world! The year is 2024, or 12345678 seconds.",
    "  two spaces,   three,    four\tand a\t\ttab \n\n new paragraph\r\n \n  indented\n\n\n",
    "I'm sure they'll say it's what we'd've DON'T I'LL 'S 'tis",
    "def f(x):\n    return x**2 + 3.14e-10  # comment\n\n\nclass A:\n\tpass\n",
    "camelCaseWords HTTPServer2 XMLHttpRequest snake_case_name SCREAMING",
    "\u{4f60}\u{597d}\u{ff0c}\u{4e16}\u{754c}\u{ff01}\u{3053}\u{3093}\u{306b}\u{3061}\u{306f} \
     \u{c548}\u{b155} 3\u{56de}",
    "\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442}, \u{43c}\u{438}\u{440}! \
     \u{39a}\u{3b1}\u{3bb}\u{3b7}\u{3bc}\u{3ad}\u{3c1}\u{3b1} \u{645}\u{631}\u{62d}\u{628}\u{627} \
     \u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947}",
    "\u{1f600} \u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{2764}\u{fe0f} e\u{301} n\u{303} \
     \u{fb01} \u{2460} \u{bd} \u{2164}",
    "a.b,c;d:e!f?g/h\\i|j~k`l@m#n$o%p^q&r*s(t)u-v_w=x+y[z]{0}<1>\"2'",
    "====----....!!!!????    ////\\\\\\\\ <<>> ->=> :: ... ...\n---\n",
    "\u{a0}no-break\u{2003}em\u{3000}wide\u{200b}zero \u{ad}soft\u{85}next",
    "1 22 333 4444 55555 1,000,000.50 0x1F 1st 2nd \u{663}\u{664}\u{665}",
    "the the the of and to in a is that it for was on",
    " ",
];

/// Whether two tokenizers make the same tokens of all these texts, with special tokens among them,
/// or refuse the same ones.
pub(super) fn agree(ours: &Tokenizer, theirs: &Tokenizer) -> bool {
    let specials = (0..ours.vocab_size() as u32).filter(|&token| ours.is_special(token));
    let specials = specials.filter_map(|token| ours.token_text(token)).take(8);
    let joined = specials
        .fold("x".to_owned(), |text, special| text + special + "user\nhello " + special + "\n  ");
    TEXTS.into_iter().chain([joined.as_str()]).all(|text| {
        [(false, false), (true, true)].into_iter().all(|(parse_special, add_special)| {
            let tokens =
                [ours, theirs].map(|tokenizer| tokenizer.encode(text, parse_special, add_special));
            matches!(&tokens, [Ok(a), Ok(b)] if a == b) || tokens.iter().all(Result::is_err)
        })
    })
}
