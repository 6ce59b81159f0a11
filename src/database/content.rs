//! The tables of content: `blob`, `manifest`, `body`, `referrer`, `repository`, `tag` and what relates
//! them. Written by the scanner alone, a category at a time, and only where something differs.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use diesel::{
    dsl::{exists, not},
    prelude::*,
};
use roaring::RoaringBitmap;

use super::{
    BATCH_ROWS, Connection, Sha256, Time, category,
    category::Category,
    connection::on_each,
    lease,
    schema::{
        blob, blob_number, body, category_repository, category_serial, manifest, manifest_blob, referrer,
        repository, repository_manifest, tag,
    },
    snapshot::{read_set, write_set},
};
use crate::{
    mirror::{CategoryId, CategoryName, Serial},
    mirrorlist::LONGEST_HOLD,
    oci::{MediaType, RepositoryName, Tag},
};

/// How many bodies one statement writes: with 4 MiB each, the longest a manifest may be, they fit into the
/// gigabyte that both engines take.
const BODIES_PER_STATEMENT: usize = 50;

/// What the database knows already, so that the scanner reads only what is new.
#[derive(Debug, Default)]
pub struct Known {
    /// All categories, by name.
    pub categories: Vec<Category>,
    /// The digests of all manifests.
    pub manifests: HashSet<Sha256>,
    /// The digests of all blobs that have a body.
    pub bodies: HashSet<Sha256>,
}

/// A category as it stands in the tree.
#[derive(Clone, Debug)]
pub struct CategoryContent {
    /// Its folder.
    pub name: CategoryName,
    /// Which repositories, tags and platforms it has, as JSON.
    pub selection: String,
    /// Its serial.
    pub serial: Serial,
    /// The hash of its inventory.
    pub inventory_digest: Sha256,
    /// All of its inventory; no digest twice.
    pub blobs: Vec<ContentBlob>,
    /// Its repositories and tags, all of them.
    pub repositories: BTreeMap<RepositoryName, BTreeMap<Tag, Sha256>>,
    /// Its manifests that are not known yet.
    pub manifests: Vec<ContentManifest>,
    /// Who says something about whom, as far as new; each pair of subject and manifest once.
    pub referrers: Vec<ContentReferrer>,
    /// The bytes of its manifests and small blobs that have no body yet.
    pub bodies: Vec<(Sha256, Vec<u8>)>,
}

/// A line of an inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentBlob {
    /// Its name.
    pub digest: Sha256,
    /// In bytes.
    pub size: u64,
}

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentManifest {
    /// Its name.
    pub digest: Sha256,
    /// Its type.
    pub media_type: MediaType,
    /// What kind of artifact it is.
    pub artifact_type: Option<String>,
    /// What it names. Content that is not in the tree (another platform's layers) is left out.
    pub children: Vec<Sha256>,
}

/// A manifest that says something about another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentReferrer {
    /// About what.
    pub subject: Sha256,
    /// Who.
    pub manifest: Sha256,
    /// What kind of artifact it is.
    pub artifact_type: Option<String>,
    /// Its descriptor in JSON, as it stands in the answer.
    pub descriptor: String,
}

/// What is in no category any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Numbers of blobs.
    blobs: Vec<i64>,
    /// Rows of repositories that no category has and that have no former manifest either.
    repositories: Vec<i64>,
}

impl Orphans {
    /// Is there nothing to remove?
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty() && self.repositories.is_empty()
    }

    /// How many blobs.
    pub fn blobs(&self) -> usize {
        self.blobs.len()
    }
}

/// Repositories that no category has and that have no former manifest either.
macro_rules! unused_repositories {
    () => {
        repository::table
            .filter(not(exists(
                category_repository::table.filter(category_repository::repository_id.eq(repository::id)),
            )))
            .filter(not(exists(
                repository_manifest::table.filter(repository_manifest::repository_id.eq(repository::id)),
            )))
    };
}

/// What the scanner need not read again.
pub fn load_known(connection: &mut Connection) -> QueryResult<Known> {
    let manifests: Vec<Sha256> =
        manifest::table.inner_join(blob::table).select(blob::digest).load(connection)?;
    let bodies: Vec<Sha256> = body::table.inner_join(blob::table).select(blob::digest).load(connection)?;
    Ok(Known {
        categories: category::list(connection)?,
        manifests: manifests.into_iter().collect(),
        bodies: bodies.into_iter().collect(),
    })
}

/// Brings a category to what the tree has; how many blobs of it are new.
///
/// The numbers of new blobs go on from the highest ever given. One scanner at a time: the caller holds the
/// scan's lock.
pub fn replace_category(
    connection: &mut Connection,
    content: &CategoryContent,
    now: Time,
) -> QueryResult<usize> {
    let CategoryContent { name, selection, serial, inventory_digest, .. } = content;
    let id = category::publish(connection, name, selection, *serial, *inventory_digest)?;
    let mut numbers = load_numbers(connection)?;
    let added = insert_blobs(connection, &content.blobs, &mut numbers)?;
    insert_manifests(connection, &content.manifests, &numbers)?;
    insert_bodies(connection, &content.bodies, &numbers)?;
    insert_referrers(connection, &content.referrers, &numbers)?;
    let repositories = replace_repositories(connection, id, &content.repositories)?;
    replace_tags(connection, id, &content.repositories, &repositories, &numbers, now)?;
    let set = content.blobs.iter().filter_map(|it| u32::try_from(*numbers.get(&it.digest)?).ok());
    let set = write_set(set.collect::<RoaringBitmap>());
    category::insert_serial(connection, id, *serial, *inventory_digest, &set, now)?;
    lease::make_category_due(connection, id, now)?;
    Ok(added)
}

/// Takes categories out of all answers. Opt-ins stay, for the day they come back.
pub fn retire_categories(connection: &mut Connection, ids: &[CategoryId], now: Time) -> QueryResult<()> {
    let repositories = category_repository::table.filter(category_repository::category_id.eq_any(ids));
    diesel::delete(repositories).execute(connection)?;
    category::retire(connection, ids, now)
}

/// Lets a tag be answered anew at once, whatever the publish rules say; in how many categories it had moved.
pub fn publish(connection: &mut Connection, name: &RepositoryName, tag: &Tag) -> QueryResult<usize> {
    let places = category_repository::table.inner_join(repository::table).filter(repository::name.eq(name));
    let moved = tag::table
        .filter(tag::former_manifest_id.is_not_null().and(tag::name.eq(tag)))
        .filter(tag::category_repository_id.eq_any(places.select(category_repository::id)));
    diesel::update(moved).set(tag::former_manifest_id.eq(None::<i64>)).execute(connection)
}

/// Is there no blob? So it is before the first scan.
pub fn is_empty(connection: &mut Connection) -> QueryResult<bool> {
    let one: Option<i64> = blob::table.select(blob::id).first(connection).optional()?;
    Ok(one.is_none())
}

/// What is in no category any more.
pub fn list_orphans(connection: &mut Connection) -> QueryResult<Orphans> {
    let newest: Vec<Vec<u8>> = category_serial::table
        .inner_join(super::schema::category::table)
        .filter(category_serial::serial.eq(super::schema::category::serial))
        .select(category_serial::blobs)
        .load(connection)?;
    let mut used = RoaringBitmap::new();
    for set in newest {
        used |= read_set(&set)?;
    }
    let blobs: Vec<i64> = blob::table.select(blob::id).load(connection)?;
    let in_no_category = |it: &i64| u32::try_from(*it).is_ok_and(|it| !used.contains(it));
    let repositories = unused_repositories!().select(repository::id).load(connection)?;
    Ok(Orphans { blobs: blobs.into_iter().filter(in_no_category).collect(), repositories })
}

/// Removes what is in no category any more. The numbers are not given again.
pub fn delete_orphans(connection: &mut Connection, orphans: &Orphans) -> QueryResult<()> {
    for some in orphans.blobs.chunks(BATCH_ROWS) {
        diesel::delete(blob::table.filter(blob::id.eq_any(some))).execute(connection)?;
    }
    // With its last manifest a repository goes as well.
    diesel::delete(unused_repositories!()).execute(connection)?;
    Ok(())
}

/// The numbers of all blobs.
fn load_numbers(connection: &mut Connection) -> QueryResult<HashMap<Sha256, i64>> {
    let rows: Vec<(Sha256, i64)> = blob::table.select((blob::digest, blob::id)).load(connection)?;
    Ok(rows.into_iter().collect())
}

/// Gives numbers to the blobs that have none; how many these were.
fn insert_blobs(
    connection: &mut Connection,
    blobs: &[ContentBlob],
    numbers: &mut HashMap<Sha256, i64>,
) -> QueryResult<usize> {
    let new: Vec<_> = blobs.iter().filter(|it| !numbers.contains_key(&it.digest)).collect();
    if new.is_empty() {
        return Ok(0);
    }
    let first: i64 = blob_number::table.select(blob_number::last).first::<i64>(connection)? + 1;
    let mut rows = Vec::with_capacity(new.len());
    for (number, blob) in (first..).zip(&new) {
        // Bitmaps hold no larger numbers.
        u32::try_from(number).map_err(|error| diesel::result::Error::SerializationError(Box::new(error)))?;
        let size = i64::try_from(blob.size).unwrap_or(i64::MAX);
        numbers.insert(blob.digest, number);
        rows.push((blob::id.eq(number), blob::digest.eq(blob.digest), blob::size.eq(size)));
    }
    let last = first + rows.len() as i64 - 1;
    diesel::update(blob_number::table).set(blob_number::last.eq(last)).execute(connection)?;
    for some in rows.chunks(BATCH_ROWS) {
        on_each!(connection, |it| diesel::insert_into(blob::table).values(some).execute(it))?;
    }
    Ok(new.len())
}

fn insert_manifests(
    connection: &mut Connection,
    manifests: &[ContentManifest],
    numbers: &HashMap<Sha256, i64>,
) -> QueryResult<()> {
    let mut rows = Vec::with_capacity(manifests.len());
    let mut relations = Vec::new();
    for it in manifests {
        let Some(id) = numbers.get(&it.digest) else { continue };
        rows.push((
            manifest::blob_id.eq(id),
            manifest::media_type.eq(it.media_type),
            manifest::artifact_type.eq(&it.artifact_type),
        ));
        let children: BTreeSet<_> = it.children.iter().filter_map(|child| numbers.get(child)).collect();
        relations.extend(children.into_iter().map(|child| (id, child)));
    }
    for some in rows.chunks(BATCH_ROWS) {
        on_each!(connection, |it| {
            diesel::insert_into(manifest::table).values(some).on_conflict_do_nothing().execute(it)
        })?;
    }
    for some in relations.chunks(BATCH_ROWS) {
        let rows: Vec<_> = some
            .iter()
            .map(|(id, child)| (manifest_blob::manifest_id.eq(*id), manifest_blob::blob_id.eq(*child)))
            .collect();
        on_each!(connection, |it| {
            diesel::insert_into(manifest_blob::table).values(rows).on_conflict_do_nothing().execute(it)
        })?;
    }
    Ok(())
}

fn insert_bodies(
    connection: &mut Connection,
    bodies: &[(Sha256, Vec<u8>)],
    numbers: &HashMap<Sha256, i64>,
) -> QueryResult<()> {
    for some in bodies.chunks(BODIES_PER_STATEMENT) {
        let rows: Vec<_> = some
            .iter()
            .filter_map(|(digest, bytes)| {
                Some((body::blob_id.eq(numbers.get(digest)?), body::bytes.eq(bytes)))
            })
            .collect();
        on_each!(connection, |it| {
            diesel::insert_into(body::table).values(rows).on_conflict_do_nothing().execute(it)
        })?;
    }
    Ok(())
}

fn insert_referrers(
    connection: &mut Connection,
    referrers: &[ContentReferrer],
    numbers: &HashMap<Sha256, i64>,
) -> QueryResult<()> {
    for some in referrers.chunks(BATCH_ROWS) {
        let row = |it: &'_ ContentReferrer| {
            let id = *numbers.get(&it.manifest)?;
            Some((
                referrer::subject.eq(it.subject),
                referrer::manifest_id.eq(id),
                referrer::artifact_type.eq(it.artifact_type.clone()),
                referrer::descriptor.eq(it.descriptor.clone()),
            ))
        };
        let rows: Vec<_> = some.iter().filter_map(row).collect();
        on_each!(connection, |it| {
            diesel::insert_into(referrer::table).values(rows).on_conflict_do_nothing().execute(it)
        })?;
    }
    Ok(())
}

/// A category's row for a repository, and the repository's own.
#[derive(Clone, Copy)]
struct RepositoryIds {
    category_repository: i64,
    repository: i64,
}

/// Gives the category these repositories and no others.
fn replace_repositories(
    connection: &mut Connection,
    category: CategoryId,
    wanted: &BTreeMap<RepositoryName, BTreeMap<Tag, Sha256>>,
) -> QueryResult<BTreeMap<RepositoryName, RepositoryIds>> {
    let rows: Vec<(RepositoryName, i64, i64)> = category_repository::table
        .inner_join(repository::table)
        .filter(category_repository::category_id.eq(category))
        .select((repository::name, category_repository::id, repository::id))
        .load(connection)?;
    let ids =
        |(name, category_repository, repository)| (name, RepositoryIds { category_repository, repository });
    let mut found: BTreeMap<_, _> = rows.into_iter().map(ids).collect();
    let gone = found.extract_if(.., |name, _| !wanted.contains_key(name)).collect::<Vec<_>>();
    for (_, ids) in gone {
        diesel::delete(category_repository::table.find(ids.category_repository)).execute(connection)?;
    }
    for name in wanted.keys() {
        if !found.contains_key(name) {
            found.insert(name.clone(), insert_repository(connection, category, name)?);
        }
    }
    Ok(found)
}

fn insert_repository(
    connection: &mut Connection,
    category: CategoryId,
    name: &RepositoryName,
) -> QueryResult<RepositoryIds> {
    let known = repository::table.filter(repository::name.eq(name)).select(repository::id);
    let id: i64 = match known.first(connection).optional()? {
        Some(id) => id,
        None => diesel::insert_into(repository::table)
            .values(repository::name.eq(name))
            .returning(repository::id)
            .get_result(connection)?,
    };
    let category_repository = diesel::insert_into(category_repository::table)
        .values((category_repository::category_id.eq(category), category_repository::repository_id.eq(id)))
        .returning(category_repository::id)
        .get_result(connection)?;
    Ok(RepositoryIds { category_repository, repository: id })
}

/// Gives the category these tags and no others. What a tag named before stays a manifest of its repository,
/// and is remembered for the publish gate as long as that can ask for it.
fn replace_tags(
    connection: &mut Connection,
    category: CategoryId,
    wanted: &BTreeMap<RepositoryName, BTreeMap<Tag, Sha256>>,
    repositories: &BTreeMap<RepositoryName, RepositoryIds>,
    numbers: &HashMap<Sha256, i64>,
    now: Time,
) -> QueryResult<()> {
    let rows: Vec<(i64, Tag, i64, i64)> = tag::table
        .inner_join(category_repository::table)
        .filter(category_repository::category_id.eq(category))
        .select((tag::category_repository_id, tag::name, tag::id, tag::manifest_id))
        .load(connection)?;
    let mut found: HashMap<(i64, Tag), (i64, i64)> = rows
        .into_iter()
        .map(|(repository, name, id, manifest)| ((repository, name), (id, manifest)))
        .collect();
    let (mut new, mut roots) = (Vec::new(), Vec::new());
    for (name, tags) in wanted {
        let Some(ids) = repositories.get(name) else { continue };
        for (tag, digest) in tags {
            let Some(manifest) = numbers.get(digest).copied() else { continue };
            match found.remove(&(ids.category_repository, tag.clone())) {
                Some((_, known)) if known == manifest => continue,
                Some((id, known)) => {
                    let moved = (
                        tag::manifest_id.eq(manifest),
                        tag::former_manifest_id.eq(Some(known)),
                        tag::updated_at.eq(now),
                    );
                    diesel::update(tag::table.find(id)).set(moved).execute(connection)?;
                }
                None => new.push((
                    tag::category_repository_id.eq(ids.category_repository),
                    tag::name.eq(tag),
                    tag::manifest_id.eq(manifest),
                    tag::updated_at.eq(now),
                )),
            }
            roots.push((ids.repository, manifest));
        }
    }
    let of_category = category_repository::table.filter(category_repository::category_id.eq(category));
    let settled = tag::table
        .filter(tag::former_manifest_id.is_not_null().and(tag::updated_at.lt(now.before(LONGEST_HOLD))))
        .filter(tag::category_repository_id.eq_any(of_category.select(category_repository::id)));
    diesel::update(settled).set(tag::former_manifest_id.eq(None::<i64>)).execute(connection)?;
    let gone: Vec<i64> = found.into_values().map(|it| it.0).collect();
    for some in gone.chunks(BATCH_ROWS) {
        diesel::delete(tag::table.filter(tag::id.eq_any(some))).execute(connection)?;
    }
    for some in new.chunks(BATCH_ROWS) {
        on_each!(connection, |it| diesel::insert_into(tag::table).values(some).execute(it))?;
    }
    insert_repository_manifests(connection, roots)
}

/// Notes manifests, and those they list, as belonging to repositories.
fn insert_repository_manifests(connection: &mut Connection, roots: Vec<(i64, i64)>) -> QueryResult<()> {
    if roots.is_empty() {
        return Ok(());
    }
    let listed: Vec<(i64, i64)> = manifest_blob::table
        .inner_join(manifest::table.on(manifest::blob_id.eq(manifest_blob::blob_id)))
        .select((manifest_blob::manifest_id, manifest_blob::blob_id))
        .load(connection)?;
    let mut children: HashMap<i64, Vec<i64>> = HashMap::new();
    for (manifest, child) in listed {
        children.entry(manifest).or_default().push(child);
    }
    // Ends, whatever the lists say: no pair is visited twice.
    let mut pairs = BTreeSet::new();
    let mut open = roots;
    while let Some((repository, manifest)) = open.pop() {
        if pairs.insert((repository, manifest)) {
            open.extend(children.get(&manifest).into_iter().flatten().map(|child| (repository, *child)));
        }
    }
    let rows: Vec<_> = pairs
        .into_iter()
        .map(|(repository, manifest)| {
            (repository_manifest::repository_id.eq(repository), repository_manifest::manifest_id.eq(manifest))
        })
        .collect();
    for some in rows.chunks(BATCH_ROWS) {
        on_each!(connection, |it| {
            diesel::insert_into(repository_manifest::table).values(some).on_conflict_do_nothing().execute(it)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::database::{Part, snapshot, testing::*};

    fn digest(number: u32) -> Sha256 {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
        Sha256(bytes)
    }

    /// A category of that many blobs, the first `manifests` of them manifests that name the next ones.
    fn large(serial: Serial, blobs: u32, manifests: u32) -> CategoryContent {
        let mut content = new_category("large", serial);
        content.blobs = (0..blobs).map(|it| ContentBlob { digest: digest(it), size: 7 }).collect();
        content.manifests = (0..manifests)
            .map(|it| ContentManifest {
                digest: digest(it),
                media_type: MediaType::OciManifest,
                artifact_type: None,
                children: (1..5).map(|next| digest(it + manifests * next)).collect(),
            })
            .collect();
        content.bodies = (0..manifests).map(|it| (digest(it), vec![b'x'; 1000])).collect();
        let tags = (0..manifests).map(|it| (format!("t{it}").parse().unwrap(), digest(it))).collect();
        content.repositories.insert("large".parse().unwrap(), tags);
        content
    }

    #[test]
    fn a_hundred_thousand_blobs_take_seconds() {
        on_both(|database| {
            let start = Instant::now();
            let content = large(1, 100_000, 10_000);
            let added = database.write(Part::Content, |it| replace_category(it, &content, now())).unwrap();
            assert_eq!(added, 100_000);
            let content =
                CategoryContent { manifests: Vec::new(), bodies: Vec::new(), ..large(2, 100_001, 0) };
            let added = database.write(Part::Content, |it| replace_category(it, &content, now())).unwrap();
            assert_eq!(added, 1);
            let rows = database.read(snapshot::load_content).unwrap();
            assert_eq!(rows.blobs.len(), 100_001);
            assert!(rows.categories[0].blobs.len() < 100, "one run of numbers");
            let gone = large(3, 50_000, 0);
            database.write(Part::Content, |it| replace_category(it, &gone, now())).unwrap();
            let orphans = database.read(list_orphans).unwrap();
            assert_eq!(orphans.blobs(), 50_001);
            database.write(Part::Content, |it| delete_orphans(it, &orphans)).unwrap();
            assert!(database.read(list_orphans).unwrap().is_empty());
            // Generous: debug builds on a busy machine.
            assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
        });
    }

    #[test]
    fn a_tag_that_moved_is_remembered_with_what_it_brought() {
        on_both(|database| {
            let latest = "latest".parse::<Tag>().unwrap();
            let scan = |serial, manifest, at: Time| {
                let mut content = large(serial, 10, 2);
                content.repositories = BTreeMap::from([(
                    "os".parse().unwrap(),
                    BTreeMap::from([(latest.clone(), digest(manifest))]),
                )]);
                database.write(Part::Content, |it| replace_category(it, &content, at)).unwrap();
                database.read(snapshot::load_content).unwrap()
            };
            assert_eq!(scan(1, 0, now()).moved_tags, []);
            let rows = scan(2, 1, now());
            let moved = &rows.moved_tags[0];
            assert_eq!(
                (moved.tag.as_str(), moved.former, moved.moved_at),
                ("latest", digest(0).0, now().unix_seconds())
            );
            let number = |it| rows.blobs.iter().find(|row| row.digest == digest(it).0).unwrap().number;
            let expected: RoaringBitmap = [1, 3, 5, 7, 9].map(number).into_iter().collect();
            assert_eq!(read_set(&moved.new_blobs).unwrap(), expected, "the manifest and its four blobs");
            assert_eq!(scan(3, 1, now()).moved_tags.len(), 1, "it is remembered");
            let publish = |it: &mut Connection| publish(it, &"os".parse().unwrap(), &latest);
            assert_eq!(database.write(Part::Content, publish).unwrap(), 1);
            assert_eq!(database.read(snapshot::load_content).unwrap().moved_tags, []);
            assert_eq!(database.write(Part::Content, publish).unwrap(), 0);
            assert_eq!(scan(4, 0, now()).moved_tags.len(), 1);
            let week_later = jiff::Timestamp::from(now()) + LONGEST_HOLD + jiff::SignedDuration::from_secs(1);
            assert_eq!(scan(5, 0, week_later.into()).moved_tags, []);
        });
    }

    #[test]
    fn of_two_categories_the_newer_one_has_the_tag() {
        on_both(|database| {
            let add = |name: &str, serial, number| {
                let mut content = CategoryContent { name: name.parse().unwrap(), ..large(serial, 3, 3) };
                let tags = BTreeMap::from([("latest".parse().unwrap(), digest(number))]);
                content.repositories = BTreeMap::from([("shared".parse().unwrap(), tags)]);
                database.write(Part::Content, |it| replace_category(it, &content, now())).unwrap();
                let rows = database.read(snapshot::load_content).unwrap();
                rows.repositories[0].tags[0].1
            };
            assert_eq!(add("a", 5, 0), digest(0).0);
            assert_eq!(add("b", 4, 1), digest(0).0);
            assert_eq!(add("b", 6, 2), digest(2).0);
        });
    }
}
