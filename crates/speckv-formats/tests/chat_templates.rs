//! Chat templates: what `transformers` offers them, what happens when they fail, and the fallbacks.

#[path = "support/talk.rs"]
mod talk;

use std::time::{Duration, UNIX_EPOCH};

use speckv_formats::{
    chat_template::{ChatTemplate, Ending, Message, Origin, TemplateError},
    tokenizer::{Model, TokenType, Tokenizer, Vocabulary},
};
use talk::Talk;

fn render(source: &str, messages: &[Message]) -> Result<String, TemplateError> {
    ChatTemplate::new(source, "<s>", "</s>")?.render(messages, true)
}

fn hello() -> Vec<Message> {
    vec![Message::new("user", "Hello")]
}

/// The expected texts are those of Jinja2 3.1 with `trim_blocks` and `lstrip_blocks`, the
/// environment of `transformers`.
#[test]
fn templates_have_what_transformers_gives_them() {
    for (source, expected) in [
        ("{{ bos_token }}{{ messages[0]['content'] + eos_token }}", "<s>Hello</s>"),
        // Blocks are trimmed: no line of its own is left of a line with a block.
        ("a\n  {% if true %}\nb\n  {% endif %}\nc\n", "a\nb\nc"),
        ("{{ messages[0].content.strip().upper().startswith('HE') }}", "True"),
        ("{{ messages[0].get('tool_calls') is none }}", "True"),
        ("{{ ' a</think>b '.split('</think>')[-1].strip() }}", "b"),
        ("{{ tools is none and documents is none }}", "True"),
        ("{% if not tools is defined %}no{% endif %}{% if tools %}yes{% endif %}", ""),
        (
            "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% \
             endfor %}{{ ns.n }}",
            "1",
        ),
        ("{{ messages[1:] | length }}{{ messages[::-1][0].role }}", "0user"),
        ("{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}x{% endfor %}", ""),
        (
            "{{ 'a' ~ 1 ~ 'b' }}{{ messages[0].content is string }}{{ messages is iterable }}",
            "a1bTrueTrue",
        ),
        ("{{ messages[0] is mapping }}{{ 'role' in messages[0] }}", "TrueTrue"),
        ("{%- generation -%} x {%- endgeneration -%}", "x"),
        ("{{ add_generation_prompt }}", "True"),
        ("{{ (messages | selectattr('role', 'equalto', 'user') | list | length) }}", "1"),
        ("{{ {'a': [1, 'é<'], 'b': none} | tojson }}", r#"{"a": [1, "é<"], "b": null}"#),
        ("{{ {'a': [1]} | tojson(indent=2) }}", "{\n  \"a\": [\n    1\n  ]\n}"),
        ("{% macro f(x) %}[{{ x }}]{% endmacro %}{{ f('a') }}", "[a]"),
    ] {
        let got = render(source, &hello()).unwrap_or_else(|error| panic!("{source}: {error}"));
        assert_eq!(got, expected, "{source}");
    }
}

#[test]
fn the_date_is_that_of_the_given_moment() {
    let template = ChatTemplate::new("{{ strftime_now('%d %b %Y') }}", "", "").unwrap();
    let moment = UNIX_EPOCH + Duration::from_secs(1_767_225_600); // date -u -d @1767225600
    assert_eq!(template.render_at(&[], false, moment).unwrap(), "01 Jan 2026");
}

#[test]
fn words_of_the_conversation_are_not_run() {
    let text = "{{ 7 * 7 }}{% raw %}<&>'\"";
    assert_eq!(render("{{ messages[0].content }}", &[Message::new("user", text)]).unwrap(), text);
}

#[test]
fn errors_tell_the_line_and_a_next_step() {
    let error = render("a\n{% if %}", &hello()).unwrap_err();
    assert!(matches!(error, TemplateError::Syntax { line: 2, .. }), "{error}");
    assert!(error.to_string().contains("line 2") && error.hint().is_some());

    let error = render("\n\n{{ raise_exception('roles must alternate') }}", &hello()).unwrap_err();
    assert!(
        matches!(&error, TemplateError::Raised { line: 3, message } if message == "roles must \
            alternate"),
        "{error}"
    );
    assert!(error.hint().is_some());

    for source in [
        "a\n{{ 1 + 'x' }}",
        "a\n{{ nothing.at.all }}",
        "a\n{{ f() }}",
        "a\n{{ 1 // 0 }}",
        "a\n{{ 'x' | frobnicate }}",
    ] {
        let error = render(source, &hello()).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{source}: {error}");
        assert!(error.hint().is_some());
    }
}

fn tokenizer(tokens: &[(&str, TokenType)]) -> Tokenizer {
    let model = Model::SentencePiece { scores: vec![0.0; tokens.len()], add_space_prefix: false };
    let mut vocabulary = Vocabulary::new(tokens.iter().map(|token| token.0), model);
    vocabulary.types = tokens.iter().map(|token| token.1).collect();
    vocabulary.bos = Some(0);
    Tokenizer::from_vocabulary(vocabulary).unwrap()
}

#[test]
fn models_without_a_template_get_a_fallback_that_says_so() {
    use TokenType::{Control, Normal};
    let messages = [Message::new("system", "Be brief."), Message::new("user", "Hi")];

    let template = ChatTemplate::fallback(&tokenizer(&[
        ("<s>", Control),
        ("<|im_start|>", Control),
        ("<|im_end|>", Control),
    ]));
    assert_eq!((template.origin(), template.stop_strings()), (Origin::ChatMl, &[][..]));
    let expected = "<|im_start|>system\nBe \
        brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(template.render(&messages, true).unwrap(), expected);

    let template = ChatTemplate::fallback(&tokenizer(&[
        ("<s>", Control),
        ("<|im_start|>", Normal),
        ("<|im_end|>", Normal),
    ]));
    assert_eq!(template.origin(), Origin::Plain);
    assert!(template.stop_strings().contains(&"\n\nUser:"));
    assert_eq!(
        template.render(&messages, true).unwrap(),
        "<s>System: Be brief.\n\nUser: Hi\n\nAssistant:"
    );
    assert_eq!(template.render(&messages[1..], false).unwrap(), "<s>User: Hi\n\n");
}

#[test]
fn templates_of_a_folder_are_found_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = tokenizer(&[("<s>", TokenType::Control)]);
    let load = || ChatTemplate::from_folder(folder.path(), &tokenizer);
    assert_eq!(load().unwrap().origin(), Origin::Plain);
    let config = folder.path().join("tokenizer_config.json");
    std::fs::write(
        &config,
        r#"{"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]}"#,
    )
    .unwrap();
    assert_eq!(load().unwrap().render(&[], true).unwrap(), "d");
    std::fs::write(&config, r#"{"chat_template": "{{ bos_token }}c"}"#).unwrap();
    assert_eq!(load().unwrap().render(&[], true).unwrap(), "<s>c");
    std::fs::write(folder.path().join("chat_template.jinja"), "j").unwrap();
    assert_eq!(load().unwrap().render(&[], true).unwrap(), "j");
    let more = folder.path().join("additional_chat_templates");
    std::fs::create_dir(&more).unwrap();
    std::fs::write(more.join("tool_use.jinja"), "{{ tools[0] }}").unwrap();
    let mut talk = Talk::default();
    assert_eq!(talk.prompt(&load().unwrap()).unwrap().text(), "j");
    talk.variables.insert("tools".into(), serde_json::json!(["t"]));
    assert_eq!(talk.prompt(&load().unwrap()).unwrap().text(), "t");
    std::fs::remove_file(folder.path().join("chat_template.jinja")).unwrap();
    std::fs::write(&config, "{}").unwrap();
    std::fs::remove_dir_all(&more).unwrap();
    std::fs::write(folder.path().join("chat_template.json"), r#"{"chat_template": "json"}"#)
        .unwrap();
    assert_eq!(load().unwrap().render(&[], true).unwrap(), "json");
    std::fs::write(&config, "{").unwrap();
    assert!(matches!(load(), Err(TemplateError::Json { .. })));
}

#[test]
fn content_is_given_in_the_kind_that_the_template_writes() {
    let text = |source: &str, talk: &Talk| {
        let template = ChatTemplate::new(source, "", "").unwrap();
        talk.prompt(&template).map(|prompt| prompt.into_text()).ok()
    };
    let only_text = "{% for m in messages %}{{ '<' + m.content + '>' }}{% endfor %}";
    let only_parts = "{% for m in messages %}{% for p in m.content if p.type == 'text' %}<{{ \
        p.text }}>{% endfor %}{% endfor %}";
    let both = "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% \
        for p in m.content %}<{{ p.text }}>{% endfor %}{% endif %}{% endfor %}";
    let talk = Talk::new(&[("user", "s")]);
    assert_eq!(text(only_text, &talk).unwrap(), "<s>");
    assert_eq!(text(only_parts, &talk).unwrap(), "<s>");
    assert_eq!(text(both, &talk).unwrap(), "s");
    let parts = serde_json::json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
    let talk = Talk::new(&[("user", parts)]);
    assert_eq!(text(only_text, &talk).unwrap(), "<a\nb>");
    assert_eq!(text(only_parts, &talk).unwrap(), "<a><b>");
    assert_eq!(text(both, &talk).unwrap(), "<a><b>");
}

#[test]
fn what_is_continued_ends_with_marked_text() {
    let source = "{% for m in messages %}[{{ m.role }}]{{ m.content|trim }}[end]{% endfor %}";
    let template = ChatTemplate::new(source, "", "").unwrap();
    let mut talk = Talk::new(&[("user", "x"), ("assistant", " One, ")]);
    talk.ending = Ending::Continue;
    let prompt = talk.prompt(&template).unwrap();
    assert_eq!(prompt.text(), "[user]x[end][assistant]One,");
    assert_eq!(prompt.data().last().unwrap().end, prompt.text().len());
}
