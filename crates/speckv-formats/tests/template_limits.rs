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

const HOSTILE: &[&str] = &[
    "{{ ([0]*1000000000000)|max }}",
    "{{ ([0]*10000000000)|list }}",
    "{{ 'x'*10**12 }}",
    "{{ ('x'*10**12)|length }}",
    "{{ 10**12*'x' }}",
    "{{ (1,)*10**12 }}",
    "{{ ([[0]*1000]*1000000)|sum(start=[]) }}",
    "{% set ns = namespace(s='x') %}{% for i in range(40) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s|length }}",
    "{% set ns = namespace(s='x') %}{% for i in range(40) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s|length }}",
    "{% set ns = namespace(s='x') %}{% for i in range(40) %}{% set ns.s = [ns.s, ns.s]|join %}{% endfor %}",
    "{% set ns = namespace(s='x') %}{% for i in range(40) %}{% set ns.s = '%s%s' % (ns.s, ns.s) %}{% endfor %}",
    "{% set ns = namespace(s='x') %}{% for i in range(40) %}{% set ns.s = '{0}{0}'.format(ns.s) %}{% endfor %}",
    "{% set ns = namespace(s='x') %}{% for i in range(40) %}{% set ns.s = ns.s.replace('x', 'xx') %}{% endfor %}",
    "{% set ns = namespace(s='x') %}{% for i in range(40) %}{% set b %}{{ ns.s }}{{ ns.s }}{% endset %}{% set ns.s = b %}{% endfor %}",
    "{% set ns = namespace(s=[0]) %}{% for i in range(40) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    "{% set ns = namespace(s=[0]) %}{% for i in range(90) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
    "{% set ns = namespace(s=[0]) %}{% for i in range(90) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s|tojson }}",
    "{% set ns = namespace(s=[0]) %}{% for i in range(90) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s == ns.s[0] }}{{ ns.s < ns.s }}",
    "{% set ns = namespace(s={'a': 0}) %}{% for i in range(90) %}{% set ns.s = {'a': ns.s, 'b': ns.s} %}{% endfor %}{{ ns.s|string|length }}",
    "{% set ns = namespace(x=[]) %}{% for i in range(99) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{{ i }}{% endfor %}{% endfor %}",
    "{{ range(1000000000000)|list }}",
    "{{ range(10**30)|sum }}",
    "{{ range(99999)|list|string * 100000 }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}x{% endmacro %}{{ f(60) }}",
    "{% macro f() %}{% call f() %}{% endcall %}{% endmacro %}{{ f() }}",
    "{% macro f() %}{{ caller() }}{% endmacro %}{% call f() %}{% call f() %}{{ [0] * 10**9 }}{% endcall %}{% endcall %}",
    "{% for x in [[]] recursive %}{{ loop([[]]) }}{% endfor %}",
    "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}{{ ns == ns.me }}{{ 'x' * 10**11 }}",
    "{{ 'x'.center(10**12) }}",
    "{{ 'x'.zfill(10**12) }}",
    "{{ 'x'.ljust(10**15, 'y') }}",
    "{{ 'x'|center(10**12) }}",
    "{{ 'a\\tb'.expandtabs(10**12) }}",
    "{{ '%1000000000000d' % 1 }}",
    "{{ '%*d' % (10**12, 1) }}",
    "{{ '%.1000000000000f' % 1.5 }}",
    "{{ '{:1000000000000}'.format(1) }}",
    "{{ '{:>{w}}'.format('x', w=10**12) }}",
    "{{ 'a\\nb'|indent(10**12) }}",
    "{{ 'a\\nb'|indent('x' * 10**7)|length }}{{ ('a\\n' * 10**6)|indent('x' * 10**6) }}",
    "{{ [1]|tojson(indent=10**12) }}",
    "{{ ([1] * 10**6)|tojson(separators=('x' * 10**6, ':')) }}",
    "{{ [1]|batch(10**12, 0)|list }}",
    "{{ [1]|slice(10**12)|list }}",
    "{{ ('x' * 10**7).split('x')|length }}{{ ('x ' * 10**8).split() }}",
    "{{ ('ab' * 10**7).replace('', 'y' * 100) }}",
    "{{ ('x' * 10**6).join(range(99999)|map('string')) }}",
    "{{ ('x,' * 10**7)|join('y' * 1000) }}",
    "{{ ('x' * 10**7)|list|length }}",
    "{{ ('x' * 10**8)[::-1]|length }}",
    "{{ ('x' * 10**7)|wordwrap(1, wrapstring='y' * 1000) }}",
    "{{ ('<' * 10**7)|e|e|e|e|e }}",
    "{{ ('é' * 10**7)|urlencode|urlencode|urlencode }}",
    "{{ ('a' * 10**7).count('a' * 5000000 ~ 'b') }}",
    "{% for i in range(99999) %}{{ ('a' * 10**6).count('b') if i < 0 }}{% set x = ('ab' * 10**6).find('c') %}{% endfor %}",
    "{% set x = 'a' * 10**6 %}{% for i in range(99999) %}{% if x == x ~ '' %}{% endif %}{% endfor %}",
    "{% set x = range(99999)|list %}{% for i in range(99999) %}{% if -1 in x %}{% endif %}{% endfor %}",
    "{% set x = range(99999)|list %}{% for i in range(99999) %}{% set y = x|sort %}{% endfor %}",
    "{{ 10**10**10 }}",
    "{{ 2**(2**62) }}",
    "{{ 9**9**9**9 }}",
    "{{ (10**36 * 10**36)|string }}",
    "{{ '9' * 10**7 |int }}{{ ('9' * 10**7)|int }}",
    "{{ 'x'.strip('y' * 10**7) }}{% set c = 'y' * 10**5 ~ 'x' %}{{ ('x' * 10**7).strip(c) }}",
    "{{ strftime_now('%c' * 10**7) }}",
    "{{ strftime_now('%999999999d') }}",
    "{{ dict(range(99999)|map('string')|map('list')) }}{{ [{}]*10**11 }}",
    "{{ raise_exception('x' * 10**7) }}",
    "{{ (messages * 10**6)|groupby('role')|list|length }}{{ messages * 10**12 }}",
    "{% set x = 'a' * 10**6 %}{% for i in range(99999) %}{% if x is lower %}{% endif %}{% endfor %}",
    "{% set x = 'a' * 10**6 %}{% for i in range(99999) %}{% if [].x is defined or x[5] == 'b' or x|length == 3 %}{% endif %}{% endfor %}",
    "{% set x = 'a' * 10**6 %}{% for i in range(99999) %}{% set y = x.upper() %}{% endfor %}",
    "{% set x = 'a' * 10**6 %}{% for i in range(99999) %}{% set y = {x: 1}[x] %}{% endfor %}",
    "{% set x = '9' * 10**6 %}{% for i in range(99999) %}{% set y = x|float + x|int %}{% endfor %}",
    "{% set x = ['%(' ~ 'a' * 10**6 ~ ')s', {'a' * 10**6: 1}] %}{% for i in range(99999) %}{% set y = x[0] % x[1] %}{% endfor %}",
    "{% set x = ('a' * 10**6)|wordwrap(1) %}{% for i in range(99999) %}{% set y = x|wordwrap(3) %}{% endfor %}",
    "{% set x = range(99999)|list %}{% for i in range(99999) %}{% set y = x|map('default', 1)|list %}{% endfor %}",
    "{% set x = dict(a=1) %}{% set k = 'k' * 10**6 %}{% for i in range(99999) %}{% set y = x[k] %}{% set z = [][k] %}{% endfor %}",
    "{% filter upper %}{% for i in range(99999) %}{% for j in range(999) %}xxxxxxxxxxxxxxxxxxxxxxx{% endfor %}{% endfor %}{% endfilter %}",
];

#[test]
fn hostile_templates_fail_quickly_and_in_little_memory() {
    let mut passed = Vec::new();
    for source in HOSTILE {
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
    let source = "{% set ns = namespace(n=0) %}{% for m in messages[::-1] %}{% if m.role == 'user' %}{% set ns.n = ns.n + 1 %}{% endif %}{% endfor %}\
        {% for m in messages %}{% set content = m.content.split('</think>')[-1].lstrip('\n') %}{{ '<|im_start|>' + m.role + '\n' + content + '<|im_end|>\n' }}{% endfor %}{{ ns.n }}";
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
