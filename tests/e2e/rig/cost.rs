//! What programs cost, by the clock and by the kernel's counters.

use std::fs;
use std::time::Instant;

/// The kernel counts so many steps a second.
const TICKS: f64 = 100.0;

/// In seconds.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: f64,
    pub(crate) processor: f64,
}

/// What running programs to their end costs.
pub(crate) fn of(work: impl FnOnce()) -> Cost {
    let (begun, before) = (Instant::now(), processor("self").1);
    work();
    Cost { wall: begun.elapsed().as_secs_f64(), processor: processor("self").1 - before }
}

/// Processor seconds of a process so far: its own, and those of its children that have ended.
pub(crate) fn processor(process: &str) -> (f64, f64) {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    // proc(5): the name, in brackets, may have blanks; what is behind it begins with the third field.
    let (_, rest) = text.rsplit_once(") ").expect("a name in brackets");
    let fields: Vec<&str> = rest.split(' ').collect();
    let seconds = |field: usize| fields[field - 3].parse::<f64>().expect("a number") / TICKS;
    (seconds(14) + seconds(15), seconds(16) + seconds(17))
}

/// The middle one of each figure.
pub(crate) fn median(costs: &[Cost]) -> Cost {
    let middle = |figure: fn(&Cost) -> f64| {
        let mut figures: Vec<f64> = costs.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    Cost { wall: middle(|it| it.wall), processor: middle(|it| it.processor) }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} s wall, {:.2} s CPU", self.wall, self.processor)
    }
}
