//! A parsed template.

use std::sync::Arc;

use super::text::Text;

/// A statement and its line.
#[derive(Debug)]
pub(super) struct Statement {
    pub line: usize,
    pub kind: Kind,
}

pub(super) type Body = Vec<Statement>;

#[derive(Debug)]
pub(super) enum Kind {
    Text(Text),
    Output(Expression),
    For(Arc<For>),
    /// Conditions with their bodies, then what happens otherwise.
    If(Vec<(Expression, Body)>, Body),
    Set(Target, Expression),
    SetBlock(Target, Vec<Named>, Body),
    Macro(Arc<Macro>),
    /// A call whose `caller` is the macro.
    Call(Expression, Arc<Macro>),
    Filter(Vec<Named>, Body),
    With(Vec<(Target, Expression)>, Body),
    /// A body with variables of its own.
    Scope(Body),
    Break,
    Continue,
}

#[derive(Debug)]
pub(super) struct For {
    pub target: Target,
    pub over: Expression,
    pub condition: Option<Expression>,
    pub body: Body,
    pub otherwise: Body,
    pub recursive: bool,
}

#[derive(Debug)]
pub(super) enum Target {
    Name(Arc<str>),
    /// `namespace.attribute`
    Attribute(Arc<str>, Arc<str>),
    Tuple(Vec<Target>),
}

#[derive(Debug)]
pub(super) struct Macro {
    pub name: Arc<str>,
    pub parameters: Vec<(Arc<str>, Option<Expression>)>,
    pub body: Body,
    /// Whether the body names `varargs`, `kwargs`, `caller`.
    pub varargs: bool,
    pub kwargs: bool,
    pub caller: bool,
}

/// A filter or a test with its arguments.
#[derive(Debug)]
pub(super) struct Named {
    pub name: Arc<str>,
    pub arguments: Given,
    pub line: usize,
}

/// Arguments of a call.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub positional: Vec<Expression>,
    pub named: Vec<(Arc<str>, Expression)>,
    /// `*list`
    pub list: Option<Expression>,
    /// `**dictionary`
    pub dictionary: Option<Expression>,
}

#[derive(Debug)]
pub(super) enum Constant {
    None,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(Text),
}

#[derive(Debug)]
pub(super) enum Expression {
    Constant(Constant),
    Name(Arc<str>),
    List(Vec<Expression>),
    Tuple(Vec<Expression>),
    Dictionary(Vec<(Expression, Expression)>),
    Attribute(Box<Expression>, Arc<str>),
    Item(Box<Expression>, Box<Expression>),
    Slice(Box<Expression>, Box<[Option<Expression>; 3]>),
    Call(Box<Expression>, Box<Given>, usize),
    Filter(Box<Expression>, Box<Named>),
    /// `is`, or `is not`.
    Test(Box<Expression>, Box<Named>, bool),
    Not(Box<Expression>),
    Negative(Box<Expression>),
    Positive(Box<Expression>),
    /// Arithmetic.
    Binary(Operator, Box<Expression>, Box<Expression>),
    /// `a ~ b ~ c`
    Concatenation(Vec<Expression>),
    /// `a < b <= c`
    Comparison(Box<Expression>, Vec<(Comparison, Expression)>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    /// Value, condition, otherwise.
    Conditional(Box<Expression>, Box<Expression>, Option<Box<Expression>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Remainder,
    Power,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    NotIn,
}
