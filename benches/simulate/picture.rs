//! Pictures for `docs/ranking.md`: SVG that is read in light and dark.

use crate::{
    day::{Bytes, Outcome, PARTS},
    formula::ALL,
    near::Near,
};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 692.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 290.0;

/// The least and the most that the picture of the load has room for, in requests.
const LOADS: (f64, f64) = (1.0, 100_000.0);

const STYLE: &str = "svg{font:13px sans-serif;background:#fff;fill:#222}\
    .grid{stroke:#ccc}.a{fill:#0b62a8;stroke:#0b62a8}.b{fill:#b45309;stroke:#b45309}.c{fill:#6b7280;stroke:#6b7280}\
    path{stroke-width:2;stroke-linejoin:round}path.a,path.b{fill:none}circle{stroke:none;fill-opacity:.7}\
    @media(prefers-color-scheme:dark){svg{background:#15181c;fill:#e5e7eb}.grid{stroke:#3a4048}\
    .a{fill:#62b0f0;stroke:#62b0f0}.b{fill:#f5a34a;stroke:#f5a34a}.c{fill:#9aa3ad;stroke:#9aa3ad}}";

/// What hosts got, over what their bandwidth lets expect.
pub(crate) fn load(nears: &[Near]) -> String {
    let (least, most) = (LOADS.0.ln(), LOADS.1.ln());
    let part = |value: f64| ((value.clamp(LOADS.0, LOADS.1).ln() - least) / (most - least)).clamp(0.0, 1.0);
    let (x, y) = (across, |it: f64| BOTTOM - (BOTTOM - TOP) * it);
    let mut body = String::new();
    for value in [1, 10, 100, 1_000, 10_000, 100_000] {
        let at = part(f64::from(value));
        body.push_str(&level(y(at), &value.to_string()));
        body.push_str(&moment(x(at), &value.to_string()));
    }
    body.push_str(&format!(
        "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{BOTTOM}\" x2=\"{RIGHT}\" y2=\"{TOP}\"/>\n"
    ));
    for (class, near) in ["a", "b", "c"].iter().zip(nears).rev() {
        for (expected, got) in near.fair.iter().filter(|it| it.0 >= 1.0) {
            let (x, y) = (x(part(*expected)), y(part(*got)));
            body.push_str(&format!("<circle class=\"{class}\" cx=\"{x:.0}\" cy=\"{y:.0}\" r=\"2.5\"/>"));
        }
        body.push('\n');
    }
    let description = "Each point is a host, once for each formula. Across: the requests that its share of the bandwidth in \
        its country lets expect; up: what it got. Portolan's and MirrorManager's points lie along the diagonal, \
        mirrorbits' lie away from it, for it does not ask for bandwidth.";
    let names: Vec<&str> = ALL.iter().map(|it| it.name()).collect();
    svg("Requests of a host: expected by bandwidth, and got", description, &names, &body)
}

/// How much came from the fallback over the day.
pub(crate) fn day(outcomes: &[Outcome]) -> String {
    let y = |share: f64| BOTTOM - (BOTTOM - TOP) * share;
    let mut body = String::new();
    for percent in [0, 25, 50, 75, 100] {
        body.push_str(&level(y(f64::from(percent) / 100.0), &format!("{percent} %")));
    }
    for hour in [0, 6, 12, 18, 24] {
        body.push_str(&moment(across(f64::from(hour) / 24.0), &format!("{hour}:00")));
    }
    let share = |it: &Bytes| (it.fallback + it.failed) as f64 / it.sum().max(1) as f64;
    for (class, outcome) in ["a", "b"].iter().zip(outcomes).rev() {
        let point = |(number, it): (usize, &Bytes)| {
            format!("{:.1} {:.1}", across((number as f64 + 0.5) / PARTS as f64), y(share(it)))
        };
        let points: Vec<_> = outcome.parts.iter().enumerate().map(point).collect();
        body.push_str(&format!("<path class=\"{class}\" d=\"M{}\"/>\n", points.join("L")));
    }
    let description = "The share of the bytes that no mirror sent, in every ten minutes of the day, with a release at 12:00. \
        Published at once it rises to more than half in the first ten minutes; published when 10 hosts hold it, it stays near nothing.";
    let names = ["published when 10 hosts have it", "published at once"];
    svg("Bytes that no mirror sent, over a day with a release at 12:00", description, &names, &body)
}

fn across(part: f64) -> f64 {
    LEFT + (RIGHT - LEFT) * part
}

fn level(at: f64, text: &str) -> String {
    format!(
        "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{RIGHT}\" y2=\"{at:.1}\"/>\
         <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>\n",
        LEFT - 6.0,
        at + 4.0
    )
}

fn moment(at: f64, text: &str) -> String {
    format!("<text x=\"{at:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{text}</text>\n", BOTTOM + 20.0)
}

fn svg(title: &str, description: &str, names: &[&str], body: &str) -> String {
    let mut legend = String::new();
    for (number, (class, name)) in ["a", "b", "c"].iter().zip(names).enumerate() {
        let x = LEFT + 235.0 * number as f64;
        legend.push_str(&format!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"10\" height=\"10\"/><text x=\"{}\" y=\"{}\">{name}</text>\n",
            HEIGHT - 17.0,
            x + 16.0,
            HEIGHT - 8.0
        ));
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"t d\">\n\
         <title id=\"t\">{title}</title>\n<desc id=\"d\">{description}</desc>\n<style>{STYLE}</style>\n\
         <text x=\"{LEFT}\" y=\"24\">{title}</text>\n{body}{legend}</svg>\n"
    )
}
