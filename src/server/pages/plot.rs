//! Pictures of numbers, as SVG of our own: no script and no style in it, for the style sheet has the colours. Each says in
//! words what it shows; the numbers stand in a table beside it.

use askama::Template;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
/// Where numbers begin and end, from the left and from the top.
const LEFT: f64 = 92.0;
const RIGHT: f64 = 692.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 222.0;

/// Labels under a picture, at most.
const MOMENTS: usize = 5;

/// Of a small picture in a table.
const SPARK_WIDTH: f64 = 90.0;
const SPARK_HEIGHT: f64 = 24.0;

/// What the style sheet draws the first, the second … with.
const CLASSES: [&str; 5] = ["one", "two", "three", "four", "five"];

/// A picture with its labels and its legend.
#[derive(Template)]
#[template(path = "plot.html")]
pub(super) struct Plot {
    /// Of its elements: another one for each picture of a page.
    id: &'static str,
    title: &'static str,
    description: String,
    levels: Vec<Label>,
    moments: Vec<Label>,
    columns: Vec<Bars>,
    lines: Vec<Line>,
    /// Class and name of each that is told apart; empty for one.
    legend: Vec<(&'static str, String)>,
}

/// A text at a place of an axis.
struct Label {
    at: String,
    text: String,
}

/// What stands on one another.
struct Bars {
    title: String,
    /// Class and outline.
    parts: Vec<(&'static str, String)>,
}

struct Line {
    class: &'static str,
    outline: String,
}

/// One time, and the numbers of it.
pub(super) struct Column {
    /// What stands below it.
    pub(super) label: String,
    /// What it says when it is pointed at.
    pub(super) title: String,
    pub(super) values: Vec<u64>,
}

/// A share that grows in steps, from a moment on.
pub(super) struct Steps {
    pub(super) name: String,
    /// Where a step is, from 0 to 1 of the width, and how high it is, from 0 to 1, by place.
    pub(super) steps: Vec<(f64, f64)>,
    /// How far it is known, from 0 to 1.
    pub(super) end: f64,
}

/// What a picture is called, and what it says in words.
pub(super) struct Caption {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) description: String,
}

impl Plot {
    /// Bars, one for each column, of as many parts as there are names.
    pub(super) fn bars(
        caption: Caption,
        names: &[&str],
        columns: &[Column],
        unit: fn(u64) -> String,
    ) -> Self {
        let highest = columns.iter().map(|it| it.values.iter().sum()).max().unwrap_or(0);
        let top = nice(highest);
        let width = (RIGHT - LEFT) / columns.len().max(1) as f64;
        let bars = |(place, column): (usize, &Column)| {
            let left = LEFT + place as f64 * width;
            let mut below = 0;
            let part = |(number, value): (usize, &u64)| {
                let (low, high) = (height(below, top), height(below + value, top));
                below += value;
                let gap = width * 0.1;
                let (left, right) = (left + gap, left + width - gap);
                let outline = format!("M{left:.1} {low:.1}V{high:.1}H{right:.1}V{low:.1}Z");
                (CLASSES[number % CLASSES.len()], outline)
            };
            let parts = column.values.iter().enumerate().filter(|it| *it.1 > 0).map(part).collect();
            Bars { title: column.title.clone(), parts }
        };
        let every = columns.len().div_ceil(MOMENTS).max(1);
        // The last one is always labelled, for it is the newest.
        let is_labelled = |place: &usize| (columns.len() - 1 - place).is_multiple_of(every);
        let moment = |place: usize| Label {
            at: format!("{:.1}", LEFT + (place as f64 + 0.5) * width),
            text: columns[place].label.clone(),
        };
        Self {
            levels: [0, top / 2, top].map(|it| level(height(it, top), unit(it))).into(),
            moments: (0..columns.len()).filter(is_labelled).map(moment).collect(),
            columns: columns.iter().enumerate().map(bars).collect(),
            lines: Vec::new(),
            legend: if names.len() > 1 { legend(names.iter().map(ToString::to_string)) } else { Vec::new() },
            ..Self::empty(caption)
        }
    }

    /// Shares as lines; `moments` are labels at equal distances, from the left end to the right.
    pub(super) fn shares(caption: Caption, lines: &[Steps], moments: &[String]) -> Self {
        let x = |it: f64| LEFT + (RIGHT - LEFT) * it.clamp(0.0, 1.0);
        let y = |it: f64| BOTTOM - (BOTTOM - TOP) * it.clamp(0.0, 1.0);
        let line = |(number, line): (usize, &Steps)| {
            let mut outline = format!("M{LEFT:.1} {:.1}", y(0.0));
            for (at, share) in line.steps.iter().filter(|it| it.0 <= 1.0) {
                outline.push_str(&format!("H{:.1}V{:.1}", x(*at), y(*share)));
            }
            outline.push_str(&format!("H{:.1}", x(line.end)));
            Line { class: CLASSES[number % CLASSES.len()], outline }
        };
        let last = moments.len().saturating_sub(1).max(1) as f64;
        let moment = |(place, text): (usize, &String)| Label {
            at: format!("{:.1}", x(place as f64 / last)),
            text: text.clone(),
        };
        Self {
            levels: [0u8, 50, 100].map(|it| level(y(f64::from(it) / 100.0), format!("{it} %"))).into(),
            moments: moments.iter().enumerate().map(moment).collect(),
            columns: Vec::new(),
            lines: lines.iter().enumerate().map(line).collect(),
            legend: legend(lines.iter().map(|it| it.name.clone())),
            ..Self::empty(caption)
        }
    }

    fn empty(Caption { id, title, description }: Caption) -> Self {
        Self {
            id,
            title,
            description,
            levels: Vec::new(),
            moments: Vec::new(),
            columns: Vec::new(),
            lines: Vec::new(),
            legend: Vec::new(),
        }
    }
}

fn legend(names: impl Iterator<Item = String>) -> Vec<(&'static str, String)> {
    CLASSES.into_iter().cycle().zip(names).collect()
}

fn level(at: f64, text: String) -> Label {
    Label { at: format!("{at:.1}"), text }
}

fn height(value: u64, top: u64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * value as f64 / top as f64
}

/// The next number that is read easily and is not smaller.
fn nice(number: u64) -> u64 {
    let power = 10u64.saturating_pow(number.max(1).ilog10());
    let steps = [1, 2, 3, 4, 6, 8, 10].map(|it: u64| it.saturating_mul(power));
    steps.into_iter().find(|it| *it >= number).unwrap_or(u64::MAX).max(2)
}

/// A small picture for a table: a line whose highest point is the largest of these numbers. It says in words what it shows.
#[derive(Template)]
#[template(path = "spark.html")]
pub(super) struct Spark {
    description: String,
    outline: String,
}

impl Spark {
    pub(super) fn new(description: String, numbers: &[u64]) -> Self {
        let highest = numbers.iter().copied().max().unwrap_or(0).max(1) as f64;
        let last = numbers.len().saturating_sub(1).max(1) as f64;
        let point = |(place, number): (usize, &u64)| {
            let x = 1.0 + (SPARK_WIDTH - 2.0) * place as f64 / last;
            let y = SPARK_HEIGHT - 2.0 - (SPARK_HEIGHT - 4.0) * *number as f64 / highest;
            format!("{x:.1} {y:.1}")
        };
        let points: Vec<_> = numbers.iter().enumerate().map(point).collect();
        Self { description, outline: format!("M{}", points.join("L")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caption() -> Caption {
        Caption { id: "p", title: "Pulls <each> day", description: "At most 30.".into() }
    }

    #[test]
    fn axes_end_at_numbers_that_are_read_easily() {
        let ends = [0, 1, 2, 3, 9, 10, 11, 59, 61, 999, 1_000_001, u64::MAX].map(nice);
        let expected = [2, 2, 2, 3, 10, 10, 20, 60, 80, 1_000, 2_000_000, u64::MAX];
        assert_eq!(ends, expected);
    }

    #[test]
    fn bars_stand_on_one_another() {
        let column = |label: &str, values: &[u64]| Column {
            label: label.into(),
            title: format!("{label}: {values:?}"),
            values: values.to_vec(),
        };
        let columns =
            [column("1", &[10, 10]), column("2", &[0, 0]), column("3", &[0, 5]), column("4", &[1, 0])];
        let plot = Plot::bars(caption(), &["mirrors", "CDNs"], &columns, |it| format!("{it} B"));
        assert_eq!(plot.levels.iter().map(|it| &*it.text).collect::<Vec<_>>(), ["0 B", "10 B", "20 B"]);
        assert_eq!(plot.columns[0].parts[0], ("one", "M107.0 222.0V119.0H227.0V222.0Z".into()));
        assert_eq!(plot.columns[0].parts[1], ("two", "M107.0 119.0V16.0H227.0V119.0Z".into()));
        assert_eq!(plot.columns[2].parts, [("two", "M407.0 222.0V170.5H527.0V222.0Z".into())]);
        let text = plot.render().unwrap();
        for part in
            ["Pulls &#60;each&#62; day", "<desc id=\"p-description\">At most 30.</desc>", "1: [10, 10]"]
        {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains("style") && !text.contains("NaN"), "{text}");
    }

    #[test]
    fn shares_grow_in_steps_as_far_as_they_are_known() {
        let steps = Steps { name: "7".into(), steps: vec![(0.25, 0.5), (0.5, 1.0), (2.0, 1.0)], end: 0.75 };
        let plot = Plot::shares(caption(), &[steps], &["0".into(), "1 h".into()]);
        assert_eq!(plot.lines[0].outline, "M92.0 222.0H242.0V119.0H392.0V16.0H542.0");
        assert_eq!(plot.moments.iter().map(|it| &*it.at).collect::<Vec<_>>(), ["92.0", "692.0"]);
    }

    #[test]
    fn nothing_is_drawn_as_nothing() {
        let plot = Plot::bars(caption(), &["pulls"], &[], |it| it.to_string()).render().unwrap();
        let spark = Spark::new("nothing".into(), &[0, 0]).render().unwrap();
        assert!(!plot.contains("NaN") && !spark.contains("NaN"), "{plot} {spark}");
        assert!(spark.contains("M1.0 22.0L89.0 22.0"), "{spark}");
    }
}
