//! Hostile templates fail within limits of time and memory, at load and for each request.

#[path = "support/talk.rs"]
mod talk;

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;
use speckv_formats::chat_template::{ChatTemplate, TemplateError};
use talk::Talk;

/// Longest time for one template, load and rendering together, in a build without optimization on
/// a busy machine. In a release build each takes less than half a second.
const MOST_TIME: Duration = Duration::from_secs(20);

/// Most memory that the process may have used at once: what values may take, and as much again.
const MOST_KIB: u64 = 1 << 20;

fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// What happens to a template: an error, or the length of the text.
fn outcome(source: &str, talk: &Talk) -> Result<usize, TemplateError> {
    let began = Instant::now();
    let outcome = ChatTemplate::new(source, "<s>", "</s>")
        .and_then(|template| talk.prompt(&template))
        .map(|prompt| prompt.text().len());
    let (source, took) = (source.chars().take(80).collect::<String>(), began.elapsed());
    assert!(took < MOST_TIME, "{source}: {took:?}");
    if let Some(peak) = peak_kib() {
        assert!(peak < MOST_KIB, "{source}: {peak} KiB");
    }
    outcome
}

fn hello() -> Talk {
    Talk::new(&[("user", "Hello")])
}

/// One a line.
const HOSTILE: &str = include_str!("jinja/hostile.txt");

#[test]
fn hostile_templates_fail_quickly_and_in_little_memory() {
    let mut passed = Vec::new();
    for source in HOSTILE.lines() {
        if outcome(source, &hello()).is_ok() {
            passed.push(source);
        }
    }
    assert!(passed.is_empty(), "these render: {passed:#?}");
}

#[test]
fn templates_that_nest_too_deep_are_refused() {
    for (open, middle, close) in [
        ("{% if true %}", "", "{% endif %}"),
        ("{% for i in [1] %}", "", "{% endfor %}"),
        ("{{ ", "", ""),
        ("{% set x %}", "", "{% endset %}"),
        ("{% macro f() %}", "", "{% endmacro %}"),
    ] {
        let source = format!("{}{middle}{}", open.repeat(5000), close.repeat(5000));
        assert!(outcome(&source, &hello()).is_err(), "{open}");
    }
    for (open, middle, close) in [
        ("(", "1", ")"),
        ("[", "1", "]"),
        ("{1: ", "1", "}"),
        ("not ", "1", ""),
        ("-", "1", ""),
        ("1 + ", "1", ""),
        ("1 if ", "1", ""),
        ("1 ** ", "1", ""),
        ("", "x", ".x"),
        ("", "1", "|abs"),
        ("", "f", "()"),
        ("", "x", "[0]"),
        ("", "1", " is odd"),
        ("f(", "1", ")"),
    ] {
        let source = format!("{{{{ {}{middle}{} }}}}", open.repeat(20_000), close.repeat(20_000));
        assert!(outcome(&source, &hello()).is_err(), "{open}{close}");
    }
    let long = format!("{{{{ 1 }}}}{}", "x".repeat(2 << 20));
    assert!(matches!(outcome(&long, &hello()), Err(TemplateError::Source { .. })));
}

#[test]
fn a_hostile_template_is_stopped_when_it_is_loaded_too() {
    // Loading renders a probe. Its failure is not that of the file: a template may refuse it.
    let began = Instant::now();
    let source = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}";
    let template = ChatTemplate::new(source, "", "").unwrap();
    assert!(began.elapsed() < MOST_TIME);
    let error = hello().prompt(&template).unwrap_err();
    assert!(matches!(error, TemplateError::TooManySteps { line: 1, .. }), "{error}");
    let long = "{% set b = 'x' * 1000000 %}{% for i in range(99) %}{{ b }}{% endfor %}";
    assert!(matches!(
        outcome(long, &hello()),
        Err(TemplateError::TooLong { .. } | TemplateError::TooMuchMemory { .. })
    ));
}

#[test]
fn long_conversations_have_room_enough() {
    let source = "{% set ns = namespace(n=0) %}{% for m in messages[::-1] %}{% if m.role == \
        'user' %}{% set ns.n = ns.n + 1 %}{% endif %}{% endfor %}\
        {% for m in messages %}{% set content = m.content.split('</think>')[-1].lstrip('\n') %}{{ \
        '<|im_start|>' + m.role + '\n' + content + '<|im_end|>\n' }}{% endfor %}{{ ns.n }}";
    let many = vec![("user", "some words of a message\n"); 5_000];
    assert!(outcome(source, &Talk::new(&many)).is_ok());
    let long = vec![("user", "word ".repeat(400_000)); 2];
    assert!(outcome(source, &Talk::new(&long)).is_ok());
    let mut tools = hello();
    let tool = json!({"function": {"name": "f".repeat(100), "parameters": {}}});
    tools.variables.insert("tools".into(), vec![tool; 500].into());
    assert!(outcome("{% for t in tools %}{{ t|tojson(indent=2) }}{% endfor %}", &tools).is_ok());
}

proptest! {
    #[test]
    fn any_template_renders_or_fails_without_panic(
        parts in prop::collection::vec(prop_oneof![
            Just("{{"), Just("}}"), Just("{%"), Just("%}"), Just("{#"), Just("#}"), Just("-"),
            Just(" if "), Just(" endif "), Just(" for m in messages "), Just(" endfor "),
            Just(" messages "), Just("[0]"), Just("[-1:]"), Just(".content"), Just(" | tojson "),
            Just("'"), Just("("), Just(")"), Just(" set a = "), Just("a"), Just("1"), Just(" * "),
            Just("\n"), Just("é"), Just(" macro f(a) "), Just(" endmacro "), Just(" f(1) "),
            Just(" is "), Just(" not "), Just("{"), Just("}"), Just(":"), Just(","), Just("%"),
            Just(" ~ "), Just("|join"), Just(".split('l')"), Just("9999999999999999999"),
        ], 0..28),
    ) {
        let _ = outcome(&parts.concat(), &hello());
    }
}
