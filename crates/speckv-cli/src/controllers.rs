//! The controllers that the command line knows: one table of names, one place to add one.

use std::str::FromStr;

use speckv::controller::{Controller, Fixed, Off};

/// Gamma where the user gives none.
pub const DEFAULT_GAMMA: usize = 4;

/// Largest gamma.
pub const MAX_GAMMA: usize = 64;

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// Name as typed.
    pub name: &'static str,
    /// What it does, for `--help` and errors.
    pub purpose: &'static str,
    make: fn(usize) -> Box<dyn Controller>,
}

/// Every controller, in the order of the help.
pub const KNOWN: &[Known] = &[
    Known { name: "off", purpose: "never drafts: plain decoding", make: |_| Box::new(Off) },
    Known {
        name: "fixed",
        purpose: "drafts --gamma tokens in every step; `fixed-6` is the same with its gamma",
        make: |gamma| Box::new(Fixed::new(gamma)),
    },
];

/// A controller by name, with the gamma of `fixed-6` where the name has one.
#[derive(Debug, Clone, Copy)]
pub struct ControllerChoice {
    known: &'static Known,
    gamma: Option<usize>,
}

impl ControllerChoice {
    /// The controller of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        KNOWN.iter().find(|known| known.name == name).map(|known| ControllerChoice { known, gamma: None })
    }

    /// The name without parameters.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.known.name
    }

    /// The gamma that came with the name.
    #[must_use]
    pub fn gamma(&self) -> Option<usize> {
        self.gamma
    }

    /// A new controller for one sequence.
    #[must_use]
    pub fn make(&self, gamma: usize) -> Box<dyn Controller> {
        (self.known.make)(self.gamma.unwrap_or(gamma))
    }
}

impl FromStr for ControllerChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(choice) = ControllerChoice::named(text) {
            return Ok(choice);
        }
        let with_gamma = text.rsplit_once('-').and_then(|(name, gamma)| {
            let gamma = gamma.parse().ok().filter(|gamma| (1..=MAX_GAMMA).contains(gamma))?;
            Some(ControllerChoice {
                gamma: Some(gamma),
                ..ControllerChoice::named(name).filter(|choice| choice.name() != "off")?
            })
        });
        with_gamma.ok_or_else(|| {
            let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
            format!(
                "{text:?} is no controller\nhint: the controllers are {}, and fixed-1 to fixed-{MAX_GAMMA}",
                names.join(", ")
            )
        })
    }
}

/// The table in words, for `--help`.
#[must_use]
pub fn help() -> String {
    let rows: Vec<String> = KNOWN.iter().map(|known| format!("  {:<12} {}", known.name, known.purpose)).collect();
    format!("Controllers:\n{}", rows.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controllers_own_name_is_what_the_command_line_takes() {
        for text in ["off", "fixed-1", "fixed-64"] {
            let choice: ControllerChoice = text.parse().expect(text);
            assert_eq!(choice.make(DEFAULT_GAMMA).name(), text);
        }
        assert_eq!("fixed".parse::<ControllerChoice>().expect("known").make(7).name(), "fixed-7");
    }

    #[test]
    fn unknown_names_and_gammas_are_refused_with_the_list() {
        for text in ["", "fast", "fixed-0", "fixed-65", "fixed-", "off-3"] {
            assert!(text.parse::<ControllerChoice>().expect_err(text).contains("hint: the controllers are off, fixed"));
        }
    }
}
