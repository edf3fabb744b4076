//! Grammars that begin later: at a trigger, after reasoning, in a channel.

use std::sync::Arc;

use serde_json::json;
use speckv::sampling::Constraint;
use speckv_grammar::{
    Begins, ChannelBudget, ChannelMarks, Grammar, GrammarSource, Grammars, Reasoning,
    ReasoningMarks, Then, Trigger, Triggered,
};

use super::*;

fn tool(grammars: &Grammars) -> Arc<Grammar> {
    let schema = json!({"type": "object", "properties": {"age": {"type": "integer"}},
        "required": ["age"], "additionalProperties": false});
    let lark = format!("start: %json {schema} \"</tool>\"");
    Arc::new(grammars.compile(&GrammarSource::Lark(lark)).expect("valid"))
}

fn read(constraint: &mut Box<dyn Constraint>, text: &str) {
    for token in encode(text) {
        constraint.advance(token).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

#[test]
fn a_trigger_begins_a_grammar_and_its_end_frees_the_text() {
    let grammars = grammars();
    let (grammar, words) = (tool(&grammars), Arc::new(words()));
    let make = || {
        let (text, begins) = ("<toolcall>".to_owned(), Begins::After);
        let trigger = Trigger { text, begins, grammar: Arc::clone(&grammar) };
        Box::new(Triggered::new(vec![trigger], Arc::clone(&words))) as Box<dyn Constraint>
    };
    check(make, "triggered");
    let mut constraint = make();
    assert!(!constraint.allowed(&mut TokenSet::default()).expect("free"));
    read(&mut constraint, "I call <toolcall>");
    assert!(
        !constraint.is_allowed(END).expect("inside") && !constraint.is_allowed(97).expect("in")
    );
    read(&mut constraint, "{\"age\": 12}</tool>");
    assert!(
        constraint.is_allowed(END).expect("free again") && constraint.is_allowed(97).expect("a")
    );
    read(&mut constraint, " and <toolcall>{\"age\": 1");
    assert!(!constraint.is_allowed(END).expect("inside"));
    constraint.rollback(encode("{\"age\": 1").len() + 1).expect("back");
    assert!(constraint.is_allowed(END).expect("free"));
}

#[test]
fn a_trigger_at_the_beginning_counts_its_own_text_to_the_grammar() {
    let grammars = grammars();
    let compile = |lark: &str| {
        Arc::new(grammars.compile(&GrammarSource::Lark(lark.to_owned())).expect("valid"))
    };
    let words = Arc::new(words());
    let make_with = |text: &str, grammar: &Arc<Grammar>| {
        let (text, begins) = (text.to_owned(), Begins::With);
        let trigger = Trigger { text, begins, grammar: Arc::clone(grammar) };
        let triggered = Triggered::new(vec![trigger], Arc::clone(&words)).ending_after_one(true);
        Box::new(triggered) as Box<dyn Constraint>
    };
    // The trigger ends within the token `": "`.
    let call = compile("start: \"{\\\"name\\\": \" /[0-9]+/ \"}\"\n");
    let make = || make_with("{\"name\":", &call);
    check(make, "free text that is no call");
    let mut constraint = make();
    read(&mut constraint, "{\"name");
    assert!(!constraint.allowed(&mut TokenSet::default()).expect("free"));
    read(&mut constraint, "\": ");
    assert!(constraint.is_allowed(Token::from(b'1')).expect("a number"));
    assert!(!constraint.is_allowed(Token::from(b'x')).expect("no letter"));
    read(&mut constraint, "12}");
    assert_eq!(constraint.forced(), Ok(Some(END)), "the answer is the call");
    constraint.rollback(encode("\": 12}").len()).expect("back before the trigger");
    assert!(!constraint.allowed(&mut TokenSet::default()).expect("free"));
    for free in [" {\"name\": x", "{\"name\" : 1", "no {\"name\": x"] {
        let mut constraint = make();
        read(&mut constraint, free);
        assert!(constraint.is_allowed(Token::from(b'x')).expect("free"), "{free}");
    }
    // Of the tokens, many begin with one of these.
    let letters = compile("start: /[a-z]+/ \"!\"\n");
    let make = || {
        let begins = Begins::With;
        let trigger = |text: String| Trigger { text, begins, grammar: Arc::clone(&letters) };
        let triggers: Vec<Trigger> =
            ('a'..='z').map(|letter| trigger(letter.to_string())).collect();
        Box::new(Triggered::new(triggers, Arc::clone(&words))) as Box<dyn Constraint>
    };
    check(make, "a trigger of one letter");
}

#[test]
fn messages_between_control_tokens_come_before_the_constraint_of_the_last_one() {
    let grammars = grammars();
    let lark = "start: before* \"tr\" <think>\nbefore: \"na\" <think> text? </think>\n\
                text: /(?s:.+)/\n";
    let header = grammars.compile(&GrammarSource::Lark(lark.into())).expect("valid");
    let answer = grammars.compile(&GrammarSource::json_object()).expect("valid");
    let make = || Box::new(Then::new(&header, answer.constraint())) as Box<dyn Constraint>;
    check(make, "a header, then an object");
    let mut constraint = make();
    let control = |constraint: &mut Box<dyn Constraint>, token: Token| {
        constraint.advance(token).expect("a control token");
    };
    read(&mut constraint, "na");
    assert_eq!(constraint.forced(), Ok(Some(THINK)));
    control(&mut constraint, THINK);
    read(&mut constraint, "anything: {12");
    assert!(constraint.is_allowed(DONE).expect("an end"));
    assert!(!constraint.is_allowed(END).expect("no answer yet"));
    control(&mut constraint, DONE);
    read(&mut constraint, "tr");
    control(&mut constraint, THINK);
    assert!(constraint.is_allowed(Token::from(b'{')).expect("an object"));
    assert!(!constraint.is_allowed(Token::from(b'1')).expect("nothing else"));
    read(&mut constraint, "{}");
    assert!(constraint.is_allowed(END).expect("complete"));
    constraint.rollback(encode("{}").len() + 2).expect("back into the header");
    assert!(!constraint.is_allowed(Token::from(b'{')).expect("no object"));
    read(&mut constraint, "tr");
    control(&mut constraint, THINK);
    assert!(constraint.is_allowed(Token::from(b'{')).expect("an object"));
}

#[test]
fn reasoning_is_free_up_to_its_limit_and_then_the_answer_is_constrained() {
    let grammars = grammars();
    let grammar = grammars.compile(&GrammarSource::Choices(vec!["true".into()])).expect("valid");
    for (is_open, limit, answer) in
        [(false, Some(3), true), (true, Some(3), true), (true, None, true), (true, Some(2), false)]
    {
        let marks = ReasoningMarks { open: THINK, close: DONE, is_open };
        let make = || {
            let answer = answer.then(|| grammar.constraint());
            Box::new(Reasoning::new(marks.clone(), limit, answer)) as Box<dyn Constraint>
        };
        check(make, &format!("open {is_open}, limit {limit:?}, answer {answer}"));
    }
    let marks = ReasoningMarks { open: THINK, close: DONE, is_open: false };
    let mut constraint = Reasoning::new(marks, Some(2), Some(grammar.constraint()));
    assert!(constraint.is_allowed(THINK).expect("it may think"));
    assert!(!constraint.is_allowed(97).expect("or answer"));
    for token in [THINK, 97, 98] {
        constraint.advance(token).expect("free");
    }
    assert_eq!(constraint.forced(), Ok(Some(DONE)));
    constraint.advance(DONE).expect("forced");
    assert_eq!(constraint.forced(), Ok(Some(encode("true")[0])));
}

#[test]
fn reasoning_in_a_channel_is_of_limited_length_and_does_not_begin_again() {
    let grammars = grammars();
    let words = Arc::new(words());
    let newline = Token::from(b'\n');
    // `<think>na` is a channel of reasoning, a line break begins its text, and `</think>` ends it.
    let marks =
        ChannelMarks { channel: THINK, message: newline, end: DONE, name: "na", is_open: false };
    let lark = "start: before* <think> \"tr\" \"\\n\" <think>\n\
                before: <think> \"na\" \"\\n\" text? </think>\ntext: /[a-z]+/\n";
    let lark = GrammarSource::Lark(lark.into());
    let header = grammars.compile(&lark).expect("valid");
    for (limit, is_open, with_answer) in
        [(2, false, true), (0, false, true), (3, true, false), (1, false, false)]
    {
        let make = || {
            let marks = ChannelMarks { is_open, ..marks.clone() };
            let answer = with_answer.then(|| header.constraint());
            let budget = ChannelBudget::new(marks, limit, Arc::clone(&words), answer);
            Box::new(budget) as Box<dyn Constraint>
        };
        check(make, &format!("limit {limit}, open {is_open}, answer {with_answer}"));
    }
    let free = ChannelBudget::new(marks, 2, Arc::clone(&words), None);
    let mut constraint: Box<dyn Constraint> = Box::new(free);
    constraint.advance(THINK).expect("a channel");
    read(&mut constraint, "na\n");
    constraint.advance(97).expect("one token");
    assert_eq!(constraint.forced(), Ok(None));
    constraint.advance(98).expect("two tokens");
    assert_eq!(constraint.forced(), Ok(Some(DONE)));
    assert!(constraint.advance(99).is_err(), "three are too many");
    for token in [DONE, 97, THINK] {
        constraint.advance(token).expect("free");
    }
    let na = encode("na")[0];
    assert!(!constraint.is_allowed(na).expect("reasoning"), "no more of it");
    assert!(!constraint.is_allowed(Token::from(b'n')).expect("its beginning"));
    assert!(constraint.is_allowed(Token::from(b't')).expect("another channel"));
    constraint.rollback(4).expect("back into the reasoning");
    assert_eq!(constraint.forced(), Ok(None), "one token of two");
}
