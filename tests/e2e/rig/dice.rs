//! Chance that can be had again.

use std::time::{SystemTime, UNIX_EPOCH};

/// Numbers that look thrown, from a seed that is printed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Dice {
        let given = std::env::var("PORTOLAN_E2E_SEED").ok().and_then(|it| it.parse().ok());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_nanos() as u64;
        let seed = given.unwrap_or(now);
        println!("PORTOLAN_E2E_SEED={seed}");
        Dice(seed | 1)
    }

    /// 1 to `most`.
    pub(crate) fn throw(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        1 + (self.0 % most as u64) as usize
    }
}
