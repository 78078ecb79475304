//! An equation between counts that were taken at different places, and the line that shows it.

use std::fmt;

use anyhow::bail;

/// A count and what it counts.
pub type Term = (String, u64);

/// What was counted in one place is what was counted in others.
#[derive(Clone, Debug, Default)]
pub struct Equation {
    subject: String,
    left: Vec<Term>,
    right: Vec<Term>,
}

impl Equation {
    /// An equation about `subject`, without terms: 0 = 0.
    pub fn of(subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), ..Self::default() }
    }

    /// Adds a term on the left.
    #[must_use]
    pub fn left(mut self, name: impl Into<String>, count: u64) -> Self {
        self.left.push((name.into(), count));
        self
    }

    /// Adds a term on the right.
    #[must_use]
    pub fn right(mut self, name: impl Into<String>, count: u64) -> Self {
        self.right.push((name.into(), count));
        self
    }

    /// Whether every term is 0.
    pub fn is_empty(&self) -> bool {
        self.left.iter().chain(&self.right).all(|(_, count)| *count == 0)
    }

    /// How many more the right side has; 0: none.
    pub fn more_on_the_right(&self) -> u64 {
        let (left, right) = self.sums();
        right.saturating_sub(left)
    }

    fn sums(&self) -> (u64, u64) {
        let sum = |side: &[Term]| side.iter().map(|(_, count)| count).sum();
        (sum(&self.left), sum(&self.right))
    }

    /// An error that says by how much it does not hold.
    pub fn check(&self) -> anyhow::Result<()> {
        let (left, right) = self.sums();
        let (more, side) = if left > right { (left - right, "left") } else { (right - left, "right") };
        if more != 0 {
            bail!("this does not hold, there are {more} more on the {side}: {self}");
        }
        Ok(())
    }
}

/// `subject: a 3 + b 1 = c 4`, without the terms that are 0; the first of each side is always there.
impl fmt::Display for Equation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:", self.subject)?;
        for (sign, side) in [("", &self.left), (" =", &self.right)] {
            formatter.write_str(sign)?;
            let shown = side.iter().enumerate().filter(|(index, (_, count))| *index == 0 || *count != 0);
            for (index, (name, count)) in shown {
                let plus = if index == 0 { "" } else { " +" };
                write!(formatter, "{plus} {name} {count}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_too_many_on_either_side_is_noticed_and_named() {
        let equation = |received| {
            Equation::of("exec").left("produced", 10).right("received", received).right("ring_full", 3)
        };
        equation(7).check().unwrap();
        assert_eq!([5, 7, 9].map(|received| equation(received).more_on_the_right()), [0, 0, 2]);
        assert_eq!(equation(7).to_string(), "exec: produced 10 = received 7 + ring_full 3");
        let error = equation(8).check().unwrap_err().to_string();
        assert!(error.contains("1 more on the right") && error.contains("received 8"), "{error}");
        let error = equation(5).check().unwrap_err().to_string();
        assert!(error.contains("2 more on the left"), "{error}");
    }

    #[test]
    fn terms_that_are_zero_are_left_out() {
        let equation = Equation::of("x").left("a", 0).left("b", 0).right("c", 0).right("d", 0);
        assert_eq!(equation.to_string(), "x: a 0 = c 0");
        assert!(equation.is_empty() && !equation.left("e", 1).is_empty());
    }
}
