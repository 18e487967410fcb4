//! Colours and emphasis. Only the terminal's own 16 colours, so that every palette, light or dark, stays readable;
//! with `NO_COLOR` only emphasis.

use ratatui::style::{Color, Modifier, Style};

/// The styles of everything on the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Theme {
    /// Plain text.
    pub text: Style,
    /// What is there for orientation: labels, axes, frames.
    pub dim: Style,
    /// Titles.
    pub title: Style,
    /// A figure or a word that matters.
    pub strong: Style,
    /// What is marked or chosen.
    pub selected: Style,
    pub good: Style,
    pub warning: Style,
    pub bad: Style,
    /// Keys, in the bottom bar and on the help page.
    pub key: Style,
    /// Curves.
    pub train: Style,
    pub smoothed: Style,
    pub eval: Style,
}

impl Theme {
    /// By the environment: `NO_COLOR` takes the colours away.
    pub fn from_env() -> Theme {
        match std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()) {
            true => Theme::plain(),
            false => Theme::colours(),
        }
    }

    pub fn colours() -> Theme {
        let fg = |c| Style::new().fg(c);
        Theme {
            text: Style::new(),
            dim: Style::new().add_modifier(Modifier::DIM),
            title: fg(Color::Cyan).add_modifier(Modifier::BOLD),
            strong: Style::new().add_modifier(Modifier::BOLD),
            selected: Style::new().add_modifier(Modifier::REVERSED),
            good: fg(Color::Green),
            warning: fg(Color::Yellow),
            bad: fg(Color::Red).add_modifier(Modifier::BOLD),
            key: fg(Color::Cyan),
            train: Style::new().add_modifier(Modifier::DIM),
            smoothed: fg(Color::Cyan),
            eval: fg(Color::Yellow).add_modifier(Modifier::BOLD),
        }
    }

    pub fn plain() -> Theme {
        let with = |m| Style::new().add_modifier(m);
        Theme {
            text: Style::new(),
            dim: with(Modifier::DIM),
            title: with(Modifier::BOLD),
            strong: with(Modifier::BOLD),
            selected: with(Modifier::REVERSED),
            good: Style::new(),
            warning: with(Modifier::BOLD),
            bad: with(Modifier::BOLD | Modifier::UNDERLINED),
            key: with(Modifier::BOLD),
            train: with(Modifier::DIM),
            smoothed: Style::new(),
            eval: with(Modifier::BOLD),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colour_there_is_none() {
        assert!(!format!("{:?}", Theme::plain()).contains("Color"));
        let colours = format!("{:?}", Theme::colours());
        assert!(!colours.contains("Rgb") && !colours.contains("Indexed"), "only the 16");
    }
}
