//! Fields and transformers of a condition.

use super::words::{field_name, in_brackets, prefix};
use super::{FieldUse, Operand, Parsed, Parser, Transformed, Transformer};

impl Parser<'_> {
    /// `val(FIELD)` or a transformer, on the right side.
    pub(super) fn computed(&mut self) -> Parsed<Option<Operand>> {
        if self.accept("val(") {
            self.skip_blanks();
            let Some(field) = self.field()? else {
                return Err(self.wrong("`val` takes a field"));
            };
            self.skip_blanks();
            if !self.accept(")") {
                return Err(self.wrong("`val` takes one field: a `)` is missing"));
            }
            return Ok(Some(Operand::Field(field)));
        }
        Ok(self.transformed()?.map(Operand::Transformed))
    }

    pub(super) fn field(&mut self) -> Parsed<Option<FieldUse>> {
        let start = self.at();
        let Some(name) = self.take(field_name) else { return Ok(None) };
        let name = name.to_owned();
        let argument = self.bracketed()?;
        Ok(Some(FieldUse { name, argument, span: self.span(start..self.at()) }))
    }

    /// `[ARGUMENT]`, if it is there.
    fn bracketed(&mut self) -> Parsed<Option<String>> {
        if !self.accept("[") {
            return Ok(None);
        }
        let argument = match self.quoted()? {
            Some(literal) => literal.text,
            None => match self.take(|text| prefix(text, in_brackets)) {
                Some(bare) => bare.to_owned(),
                None => return Err(self.wrong("an argument is missing after `[`")),
            },
        };
        if !self.accept("]") {
            return Err(self.wrong("a `]` is missing after the argument"));
        }
        Ok(Some(argument))
    }

    pub(super) fn transformed(&mut self) -> Parsed<Option<Transformed>> {
        let start = self.at();
        let found = Transformer::ALL.iter().copied().find(|transformer| {
            self.rest.strip_prefix(transformer.word()).is_some_and(|rest| rest.starts_with('('))
        });
        let Some(transformer) = found else { return Ok(None) };
        self.accept(transformer.word());
        self.accept("(");
        self.deeper()?;
        let mut arguments = Vec::new();
        loop {
            self.skip_blanks();
            arguments.push(self.argument(transformer)?);
            self.skip_blanks();
            if !self.accept(",") {
                break;
            }
        }
        self.depth -= 1;
        if !self.accept(")") {
            return Err(self.wrong(format!("a comma or `)` is missing in `{}(…)`", transformer.word())));
        }
        let (least, most) = transformer.arguments();
        if !(least..=most).contains(&arguments.len()) {
            let message = format!(
                "`{}` takes {least} argument{} and has {}",
                transformer.word(),
                if least == 1 { "" } else { "s" },
                arguments.len()
            );
            return Err(self.mistake(start..self.at(), message));
        }
        let index = if transformer == Transformer::Getopt { self.bracketed()? } else { None };
        Ok(Some(Transformed { transformer, arguments, index, span: self.span(start..self.at()) }))
    }

    fn argument(&mut self, of: Transformer) -> Parsed<Operand> {
        if let Some(transformed) = self.transformed()? {
            return Ok(Operand::Transformed(transformed));
        }
        if let Some(field) = self.field()? {
            return Ok(Operand::Field(field));
        }
        let takes_text = matches!(of, Transformer::Join | Transformer::Concat | Transformer::Getopt);
        match if takes_text { self.quoted()? } else { None } {
            Some(literal) => Ok(Operand::Literal(literal)),
            None => Err(self.wrong(format!("`{}` takes a field or another transformer", of.word()))),
        }
    }
}
