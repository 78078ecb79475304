//! What is wrong with rule files, in Falco's words for it and with the place.

use std::fmt;

use super::text::Span;

/// A mistake, or what looks like one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind of mistake.
    pub code: Code,
    /// One sentence.
    pub message: String,
    /// Where.
    pub span: Span,
    /// Other places that have to do with it, and how.
    pub also: Vec<(Span, String)>,
    /// What to do about it, if anything can be said.
    pub help: Option<String>,
}

impl Problem {
    /// A problem without advice.
    pub fn new(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), span, also: Vec::new(), help: None }
    }

    /// The same with advice.
    pub fn help(mut self: Box<Self>, help: impl Into<String>) -> Box<Self> {
        self.help = Some(help.into());
        self
    }

    /// Whether the item it is about does not load.
    pub fn is_error(&self) -> bool {
        self.code.is_error()
    }
}

macro_rules! codes {
    ($($severity:ident { $($(#[doc = $doc:literal])+ $name:ident = $code:literal,)+ })+) => {
        /// Kinds of problems: the codes of Falco's load results, and ours.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($($(#[doc = $doc])+ $name,)+)+ }

        impl Code {
            /// As Falco spells it in its own results.
            pub fn name(self) -> &'static str {
                match self { $($(Self::$name => $code,)+)+ }
            }

            /// Whether it keeps an item from loading.
            pub fn is_error(self) -> bool {
                match self { $($(Self::$name => codes!(@$severity),)+)+ }
            }
        }
    };
    (@error) => { true };
    (@warning) => { false };
}

codes! {
    error {
        /// The file cannot be read.
        FileRead = "LOAD_ERR_FILE_READ",
        /// It is not YAML.
        YamlParse = "LOAD_ERR_YAML_PARSE",
        /// It is YAML, but no rule file.
        YamlValidate = "LOAD_ERR_YAML_VALIDATE",
        /// A condition that is none.
        CompileCondition = "LOAD_ERR_COMPILE_CONDITION",
        /// An output format that is none.
        CompileOutput = "LOAD_ERR_COMPILE_OUTPUT",
        /// An item that contradicts another one, or itself.
        Validate = "LOAD_ERR_VALIDATE",
    }
    warning {
        /// Rules for a source of events that is not here.
        UnknownSource = "LOAD_UNKNOWN_SOURCE",
        /// A comparison with `<NA>` that does not do what it says.
        UnsafeNaCheck = "LOAD_UNSAFE_NA_CHECK",
        /// A rule that runs for nearly every event.
        NoEventType = "LOAD_NO_EVTTYPE",
        /// `skip-if-unknown-filter`: the rule was left out.
        UnknownFilter = "LOAD_UNKNOWN_FILTER",
        /// Nothing uses the macro.
        UnusedMacro = "LOAD_UNUSED_MACRO",
        /// Nothing uses the list.
        UnusedList = "LOAD_UNUSED_LIST",
        /// An item that is not known.
        UnknownItem = "LOAD_UNKNOWN_ITEM",
        /// A way of writing that has been replaced.
        DeprecatedItem = "LOAD_DEPRECATED_ITEM",
        /// An exception without values is appended.
        AppendNoValues = "LOAD_APPEND_NO_VALUES",
        /// The condition compiles, but hardly as it was meant.
        ConditionWarning = "LOAD_COMPILE_CONDITION",
        /// The rule can never match.
        NeverMatches = "LOAD_NEVER_MATCHES",
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
