//! A condition as a tree. Every part knows where it was written.

use super::text::Span;

mod print;

/// A condition or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// What it says.
    pub kind: Kind,
    /// Where it says so.
    pub span: Span,
}

/// What a condition says.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// All of them; two at least.
    And(Vec<Condition>),
    /// One of them; two at least.
    Or(Vec<Condition>),
    /// Not this one.
    Not(Box<Condition>),
    /// What the macro of this name says.
    Macro(String),
    /// One comparison.
    Check(Check),
}

/// A comparison: `proc.name in (cat, "ls")`.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What is compared.
    pub left: Operand,
    /// How.
    pub operator: Operator,
    /// Where the operator stands.
    pub operator_span: Span,
    /// With `oneof`, `anyof` or `allof`: how many of the values it must hold for.
    pub quantifier: Option<Quantifier>,
    /// With what.
    pub right: Right,
}

/// The right side of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub enum Right {
    /// None: `exists`.
    Nothing,
    /// One value: a literal, `val(FIELD)` or a transformer.
    One(Operand),
    /// A list of literals, perhaps an empty one.
    Many(Vec<Literal>),
}

/// A value of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A field of the event.
    Field(FieldUse),
    /// Text from the rule.
    Literal(Literal),
    /// A value made from others.
    Transformed(Transformed),
}

impl Operand {
    /// Where it stands.
    pub fn span(&self) -> Span {
        match self {
            Self::Field(field) => field.span,
            Self::Literal(literal) => literal.span,
            Self::Transformed(transformed) => transformed.span,
        }
    }
}

/// A field as a rule names it: `proc.aname[2]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldUse {
    /// Name without the argument.
    pub name: String,
    /// What stands in brackets.
    pub argument: Option<String>,
    /// Where it stands, argument included.
    pub span: Span,
}

/// Text of a rule, without quotes and escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    /// The text.
    pub text: String,
    /// It stood in quotes.
    pub is_quoted: bool,
    /// Where it stands, quotes included.
    pub span: Span,
}

/// `tolower(proc.name)`, `getopt(proc.args, "n:")[n]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Transformed {
    /// What is done.
    pub transformer: Transformer,
    /// To what.
    pub arguments: Vec<Operand>,
    /// What stands in brackets behind it.
    pub index: Option<String>,
    /// Where it stands.
    pub span: Span,
}

/// Defines an enum of words of the language.
macro_rules! words {
    ($(#[doc = $title:literal])+ $enum:ident { $($(#[doc = $doc:literal])+ $name:ident = $word:literal,)+ }) => {
        $(#[doc = $title])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $enum { $($(#[doc = $doc])+ $name,)+ }

        impl $enum {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// As it is written in a rule.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// The one that is written so.
            pub fn of(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.word() == word)
            }
        }
    };
}

words! {
    /// How two values are compared.
    Operator {
        /// There is a value.
        Exists = "exists",
        /// The same.
        Equal = "=",
        /// There is one, and it is another.
        NotEqual = "!=",
        /// Smaller, or before it in the order of bytes.
        Less = "<",
        /// Not greater.
        LessOrEqual = "<=",
        /// Greater, or after it in the order of bytes.
        Greater = ">",
        /// Not smaller.
        GreaterOrEqual = ">=",
        /// Has it inside.
        Contains = "contains",
        /// Has it inside, in capitals or not.
        IContains = "icontains",
        /// Has these bytes inside, which are written in hexadecimal digits.
        BContains = "bcontains",
        /// Starts with it.
        StartsWith = "startswith",
        /// Starts with these bytes, which are written in hexadecimal digits.
        BStartsWith = "bstartswith",
        /// Ends with it.
        EndsWith = "endswith",
        /// Matches the pattern of `*`, `?` and `[…]`; `*` and `?` match slashes.
        Glob = "glob",
        /// The same, in capitals or not.
        IGlob = "iglob",
        /// Matches the regular expression as a whole.
        Regex = "regex",
        /// Is one of them; of a list: all of its elements are.
        In = "in",
        /// Is one of them; of a list: one of its elements is.
        Intersects = "intersects",
        /// Is one of these paths or below it; their components may be patterns.
        PathMatch = "pmatch",
    }
}

impl Operator {
    /// Its right side is a list.
    pub fn takes_list(self) -> bool {
        matches!(self, Self::In | Self::Intersects | Self::PathMatch)
    }

    /// Its right side must look like a number.
    pub fn takes_number(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual)
    }

    /// It may be followed by a [`Quantifier`].
    pub fn takes_quantifier(self) -> bool {
        !self.takes_list() && !self.takes_number() && self != Self::Exists
    }
}

words! {
    /// For how many of several values a comparison must hold.
    Quantifier {
        /// Exactly one.
        OneOf = "oneof",
        /// At least one.
        AnyOf = "anyof",
        /// Every one.
        AllOf = "allof",
    }
}

words! {
    /// What can be done to a value.
    Transformer {
        /// In small letters.
        ToLower = "tolower",
        /// In capitals.
        ToUpper = "toupper",
        /// Decoded from base 64; no value if it is not.
        B64 = "b64",
        /// What follows the last slash.
        Basename = "basename",
        /// Bytes of text, elements of a list.
        Len = "len",
        /// The elements of a list in one text, the first argument between them.
        Join = "join",
        /// All arguments in one text.
        Concat = "concat",
        /// The argument of an option on a command line, as getopt(3) reads it.
        Getopt = "getopt",
    }
}

impl Transformer {
    /// Least and most arguments.
    pub fn arguments(self) -> (usize, usize) {
        match self {
            Self::Concat => (1, usize::MAX),
            Self::Join | Self::Getopt => (2, 2),
            _ => (1, 1),
        }
    }
}
