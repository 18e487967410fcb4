//! Keys that nobody would press: the same ones at every run.

use crossterm::event::{Event as Input, KeyCode, KeyEvent, KeyModifiers};

/// Keys without a character.
const CODES: [KeyCode; 22] = [
    KeyCode::Enter,
    KeyCode::Esc,
    KeyCode::Up,
    KeyCode::Down,
    KeyCode::Left,
    KeyCode::Right,
    KeyCode::Home,
    KeyCode::End,
    KeyCode::PageUp,
    KeyCode::PageDown,
    KeyCode::Backspace,
    KeyCode::Delete,
    KeyCode::Insert,
    KeyCode::Tab,
    KeyCode::BackTab,
    KeyCode::F(2),
    KeyCode::F(3),
    KeyCode::F(4),
    KeyCode::F(5),
    KeyCode::F(6),
    KeyCode::F(1),
    KeyCode::Null,
];
/// Characters of all widths, some that join or turn others round, and those that commands and JSON are made of.
const CHARACTERS: &str =
    "abdeowskjz/ 0123456789.-,~{}[]\":\n\t\u{7}\u{1b}é包装，不错👍🏽😀❤\u{fe0f}\u{200d}\u{202e}\u{301}ｱﾞ﷽";
const PASTES: [&str; 8] = [
    "",
    "\n\n\n",
    "包装\r\n不错\t\u{1b}[31mred",
    "{\"lora_rank\": 8}",
    "\u{202e}abc\0",
    "ﾊﾟ👨‍👩‍👧",
    "\u{1b}[2J\u{1b}]0;x\u{7}",
    "👨‍👩‍👧‍👦\r\n🇨🇳",
];

/// A generator of keys, pastes and numbers.
pub struct Random(rand_mt::Mt);

impl Random {
    pub fn new(seed: u32) -> Random {
        Random(rand_mt::Mt::new(seed))
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0.next_u32() as usize % n
    }

    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A key, with Ctrl, Alt or Shift at times.
    pub fn key(&mut self) -> Input {
        let with = match self.below(6) {
            0 => KeyModifiers::SHIFT,
            1 => KeyModifiers::CONTROL,
            2 => KeyModifiers::ALT,
            _ => KeyModifiers::NONE,
        };
        let code = match self.below(5) {
            0 | 1 => self.of(&CODES),
            2 => KeyCode::Char(char::from(b'a' + self.below(26) as u8)),
            _ => {
                let n = CHARACTERS.chars().count();
                KeyCode::Char(CHARACTERS.chars().nth(self.below(n)).unwrap())
            }
        };
        Input::Key(KeyEvent::new(code, with))
    }

    pub fn paste(&mut self) -> Input {
        match self.below(PASTES.len() + 2) {
            0 => Input::Paste("长文".repeat(3000)),
            1 => Input::Paste("a b\n".repeat(300)),
            i => Input::Paste(PASTES[i - 2].to_owned()),
        }
    }

    /// The width and height of a screen, now and then a tiny one.
    pub fn size(&mut self) -> (u16, u16) {
        match self.below(4) {
            0 => self.of(&[(80, 24), (61, 17), (20, 5), (3, 2)]),
            _ => (60 + self.below(140) as u16, 16 + self.below(40) as u16),
        }
    }
}
