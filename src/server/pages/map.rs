//! The world, and where mirrors stand on it.

use std::collections::BTreeMap;

use super::overview::Mirror;
use crate::mirrorlist::Standing;

/// Land as one path in a picture of 1,000 by 500: every 10 units 3.6 degrees.
const WORLD: &str = include_str!("../../../templates/assets/world.svg");

/// The path's data, out of the picture.
pub(super) fn land() -> &'static str {
    WORLD.split_once(" d=\"").and_then(|it| it.1.split('"').next()).unwrap_or_default()
}

/// Mirrors so near to each other that they share a spot.
pub(super) struct Dot {
    pub(super) x: i64,
    pub(super) y: i64,
    pub(super) radius: u32,
    /// The best standing of them.
    pub(super) word: &'static str,
    pub(super) names: String,
}

/// Names on one dot's label.
const NAMES: usize = 8;

/// All mirrors whose place is known.
pub(super) fn dots(mirrors: &[Mirror]) -> Vec<Dot> {
    let mut spots: BTreeMap<(i64, i64), Vec<&Mirror>> = BTreeMap::new();
    for mirror in mirrors.iter().filter(|it| it.standing != Standing::Off) {
        let Some(place) = mirror.place else { continue };
        let x = (place.longitude() + 180.0) / 0.36;
        let y = (90.0 - place.latitude()) / 0.36;
        // Spots of 5 units.
        spots.entry(((x / 5.0).round() as i64 * 5, (y / 5.0).round() as i64 * 5)).or_default().push(mirror);
    }
    let dot = |((x, y), mirrors): ((i64, i64), Vec<&Mirror>)| {
        let best = mirrors.iter().min_by_key(|it| it.standing);
        let mut names: Vec<_> =
            mirrors.iter().take(NAMES).map(|it| format!("{} ({})", it.name, it.word())).collect();
        if mirrors.len() > NAMES {
            names.push(format!("and {} more", mirrors.len() - NAMES));
        }
        let radius = 4 + (mirrors.len() as u32).ilog2().min(6);
        Dot { x, y, radius, word: best.map_or("", |it| it.word()), names: names.join(", ") }
    };
    spots.into_iter().map(dot).collect()
}
