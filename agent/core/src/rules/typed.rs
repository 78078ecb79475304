//! A condition with meaning: fields are rows of the table, literals are values of their kind.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use super::condition::{Operator, Quantifier, Transformer};
use super::fields::{Field, Kind};
use super::text::Span;

/// A condition.
#[derive(Clone, Debug)]
pub enum Expr {
    /// Always so, or never.
    Constant(bool),
    /// All of them.
    And(Vec<Expr>),
    /// One of them.
    Or(Vec<Expr>),
    /// Not this one. A comparison with what is not there is false, so this is not the comparison turned round.
    Not(Box<Expr>),
    /// One comparison.
    Test(Test),
}

/// A comparison.
#[derive(Clone, Debug)]
pub struct Test {
    /// What is compared.
    pub left: Operand,
    /// How.
    pub operator: Operator,
    /// For how many of several values.
    pub quantifier: Option<Quantifier>,
    /// With what.
    pub right: Right,
    /// Where it stands.
    pub span: Span,
}

/// A value that an event gives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A field.
    Field(FieldRef),
    /// Made from others.
    Transformed {
        /// What is done.
        transformer: Transformer,
        /// To what.
        arguments: Vec<Operand>,
        /// Of `getopt`: which option.
        index: Option<String>,
    },
    /// Text of the rule, as an argument of a transformer.
    Literal(String),
}

/// A field of the table and its argument.
#[derive(Clone, Debug)]
pub struct FieldRef {
    /// The row.
    pub field: &'static Field,
    /// Its place in the table (`fields::all`): what an event tells fields apart by.
    pub place: u16,
    /// What stands in brackets, or behind the dot.
    pub argument: Option<Argument>,
}

impl PartialEq for FieldRef {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place && self.argument == other.argument
    }
}

impl Eq for FieldRef {}

impl Hash for FieldRef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.place, &self.argument).hash(state);
    }
}

/// The argument of a field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Argument {
    /// A number.
    Index(u32),
    /// A name.
    Key(String),
}

/// The right side of a comparison, as values of the left side's kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// None: `exists`.
    Nothing,
    /// Another value of the event.
    Operand(Operand),
    /// Texts and paths.
    Texts(Vec<String>),
    /// Numbers, ports, durations and times.
    Numbers(Vec<i128>),
    /// True or false.
    Bools(Vec<bool>),
    /// Addresses.
    Addresses(Vec<IpAddr>),
    /// Networks: an address and how many bits of it count.
    Networks(Vec<Network>),
    /// Bytes.
    Bytes(Vec<Vec<u8>>),
}

/// A network: `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// Any address of it.
    pub address: IpAddr,
    /// How many bits all of its addresses share.
    pub bits: u8,
}

impl Network {
    /// `10.0.0.0/8`, `fd00::/8`; an address alone is a network of one.
    pub fn of(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { address, bits })
    }

    /// Whether it has this address.
    pub fn contains(self, address: IpAddr) -> bool {
        let same = |own: u128, other: u128, width: u32| {
            let shift = width - u32::from(self.bits);
            own.checked_shr(shift).unwrap_or(0) == other.checked_shr(shift).unwrap_or(0)
        };
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same(own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

impl Operand {
    /// What kind of value it has, and whether several.
    pub fn kind(&self) -> (Kind, bool) {
        match self {
            Self::Field(reference) => (reference.field.kind, reference.is_list()),
            Self::Literal(_) => (Kind::Text, false),
            Self::Transformed { transformer, arguments, .. } => match transformer {
                Transformer::Len => (Kind::Unsigned(64), false),
                Transformer::Join | Transformer::Concat | Transformer::Getopt => (Kind::Text, false),
                _ => (Kind::Text, arguments.first().is_some_and(|argument| argument.kind().1)),
            },
        }
    }
}

/// How many values a field has, and how they are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One.
    One,
    /// A list: `in` all of it, `intersects` any of it.
    List,
    /// Both ends of a connection: whichever is so, and `!=` if neither is.
    Ends,
    /// All ancestors: whichever is so, `!=` too.
    Ancestors,
}

impl FieldRef {
    /// How its values are compared. With an argument it is one of them.
    pub fn shape(&self) -> Shape {
        match self.field.name {
            _ if self.argument.is_some() => Shape::One,
            _ if self.field.is_list => Shape::List,
            "fd.ip" | "fd.port" | "fd.net" | "fd.proto" | "fd.ip.name" | "fd.proto.name" => Shape::Ends,
            "proc.aname" | "proc.aexe" | "proc.aexepath" | "proc.acmdline" | "proc.apid" | "proc.aenv"
            | "proc.aargs" => Shape::Ancestors,
            _ => Shape::One,
        }
    }

    /// Whether it is a list.
    pub fn is_list(&self) -> bool {
        self.shape() == Shape::List
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let table = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.1.2.3/8", "10.0.0.0", true),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("1.2.3.4", "1.2.3.4", true),
            ("1.2.3.4", "1.2.3.5", false),
            ("::/0", "fe80::1", true),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
        ];
        for (network, address, inside) in table {
            let network = Network::of(network).expect(network);
            assert_eq!(network.contains(address.parse().expect(address)), inside, "{network:?} {address}");
        }
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "x/8", "10.0.0.0/-1"] {
            assert_eq!(Network::of(bad), None, "{bad}");
        }
    }
}
