//! The tables as Diesel sees them, on both engines. `schema/*.sql` has the real ones.

diesel::table! {
    site (id) {
        id -> BigInt,
        name -> Text,
        org_url -> Nullable<Text>,
        private -> Bool,
        user_active -> Bool,
        admin_active -> Bool,
        created_at -> Timestamp,
    }
}

diesel::table! {
    host (id) {
        id -> BigInt,
        site_id -> BigInt,
        name -> Text,
        country -> Nullable<Text>,
        latitude -> Nullable<Double>,
        longitude -> Nullable<Double>,
        asn -> Nullable<BigInt>,
        asn_clients -> Bool,
        bandwidth -> Nullable<BigInt>,
        private -> Bool,
        user_active -> Bool,
        admin_active -> Bool,
        auto_disabled_at -> Nullable<Timestamp>,
        auto_disabled_reason -> Nullable<Text>,
        drained -> Bool,
        contacts -> Text,
        comment -> Text,
        created_at -> Timestamp,
        last_crawled_at -> Nullable<Timestamp>,
        last_crawl_ms -> Nullable<BigInt>,
        crawl_failures -> BigInt,
        kind -> Text,
        client_share -> Nullable<BigInt>,
        daily_bytes -> Nullable<BigInt>,
        max_file_size -> Nullable<BigInt>,
        last_lied_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    category (id) {
        id -> BigInt,
        name -> Text,
        description -> Text,
        visible -> Bool,
        selection -> Text,
        serial -> BigInt,
        inventory_digest -> Binary,
        retired_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    host_category (id) {
        id -> BigInt,
        host_id -> BigInt,
        category_id -> BigInt,
        created_at -> Timestamp,
        drained -> Bool,
    }
}

diesel::table! {
    host_category_url (id) {
        id -> BigInt,
        host_category_id -> BigInt,
        url -> Text,
        ipv4_reach -> Text,
        ipv6_reach -> Text,
        reach_reason -> Nullable<Text>,
        probed_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    host_netblock (id) {
        id -> BigInt,
        host_id -> BigInt,
        netblock -> Text,
        name -> Text,
    }
}

diesel::table! {
    host_peer_asn (host_id, asn) {
        host_id -> BigInt,
        asn -> BigInt,
        name -> Text,
    }
}

diesel::table! {
    host_country_allowed (host_id, country) {
        host_id -> BigInt,
        country -> Text,
    }
}

diesel::table! {
    host_country_denied (host_id, country) {
        host_id -> BigInt,
        country -> Text,
    }
}

diesel::table! {
    country_continent_redirect (country) {
        country -> Text,
        continent -> Text,
        imported -> Bool,
    }
}

diesel::table! {
    netblock_country (netblock) {
        netblock -> Text,
        country -> Text,
        imported -> Bool,
    }
}

diesel::table! {
    blob (id) {
        id -> BigInt,
        digest -> Binary,
        size -> BigInt,
    }
}

diesel::table! {
    blob_number (last) {
        last -> BigInt,
    }
}

diesel::table! {
    manifest (blob_id) {
        blob_id -> BigInt,
        media_type -> Text,
        artifact_type -> Nullable<Text>,
    }
}

diesel::table! {
    manifest_blob (manifest_id, blob_id) {
        manifest_id -> BigInt,
        blob_id -> BigInt,
    }
}

diesel::table! {
    body (blob_id) {
        blob_id -> BigInt,
        bytes -> Binary,
    }
}

diesel::table! {
    pieces (blob_id) {
        blob_id -> BigInt,
        bytes -> Binary,
    }
}

diesel::table! {
    referrer (id) {
        id -> BigInt,
        subject -> Binary,
        manifest_id -> BigInt,
        artifact_type -> Nullable<Text>,
        descriptor -> Text,
    }
}

diesel::table! {
    repository (id) {
        id -> BigInt,
        name -> Text,
    }
}

diesel::table! {
    repository_manifest (repository_id, manifest_id) {
        repository_id -> BigInt,
        manifest_id -> BigInt,
    }
}

diesel::table! {
    category_repository (id) {
        id -> BigInt,
        category_id -> BigInt,
        repository_id -> BigInt,
    }
}

diesel::table! {
    tag (id) {
        id -> BigInt,
        category_repository_id -> BigInt,
        name -> Text,
        manifest_id -> BigInt,
        updated_at -> Timestamp,
        former_manifest_id -> Nullable<BigInt>,
    }
}

diesel::table! {
    category_serial (id) {
        id -> BigInt,
        category_id -> BigInt,
        serial -> BigInt,
        inventory_digest -> Binary,
        blobs -> Binary,
        created_at -> Timestamp,
    }
}

diesel::table! {
    holdings (host_category_id) {
        host_category_id -> BigInt,
        serial -> Nullable<BigInt>,
        state -> Text,
        reason -> Text,
        blobs -> Binary,
        crawled_at -> Timestamp,
    }
}

diesel::table! {
    crawl (id) {
        id -> BigInt,
        host_id -> BigInt,
        started_at -> Timestamp,
        duration_ms -> BigInt,
        state -> Text,
        log -> Text,
    }
}

diesel::table! {
    crawl_schedule (host_id) {
        host_id -> BigInt,
        next_crawl_at -> Timestamp,
        not_before -> Nullable<Timestamp>,
        crawled_at -> Nullable<Timestamp>,
        holder -> Nullable<Text>,
        leased_until -> Nullable<Timestamp>,
    }
}

diesel::table! {
    propagation (id) {
        id -> BigInt,
        host_category_id -> BigInt,
        serial -> BigInt,
        since -> Timestamp,
        until -> Nullable<Timestamp>,
    }
}

diesel::table! {
    host_token (id) {
        id -> BigInt,
        host_id -> BigInt,
        hash -> Binary,
        created_at -> Timestamp,
        expires_at -> Nullable<Timestamp>,
        used_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    account (id) {
        id -> BigInt,
        name -> Text,
        mail -> Text,
        password -> Nullable<Text>,
        role -> Text,
        active -> Bool,
        created_at -> Timestamp,
    }
}

diesel::table! {
    site_account (site_id, account_id) {
        site_id -> BigInt,
        account_id -> BigInt,
    }
}

diesel::table! {
    session (hash) {
        hash -> Binary,
        account_id -> BigInt,
        created_at -> Timestamp,
        used_at -> Timestamp,
    }
}

diesel::table! {
    account_token (id) {
        id -> BigInt,
        account_id -> BigInt,
        name -> Text,
        scopes -> Text,
        host_id -> Nullable<BigInt>,
        hash -> Binary,
        created_at -> Timestamp,
        expires_at -> Timestamp,
        used_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    identity (id) {
        id -> BigInt,
        account_id -> BigInt,
        issuer -> Text,
        subject -> Text,
        called -> Text,
        made_operator -> Bool,
        created_at -> Timestamp,
    }
}

diesel::table! {
    audit (id) {
        id -> BigInt,
        happened_at -> Timestamp,
        actor -> Text,
        subject -> Text,
        subject_name -> Text,
        before_change -> Nullable<Text>,
        after_change -> Nullable<Text>,
    }
}

diesel::table! {
    approval (id) {
        id -> BigInt,
        host_id -> BigInt,
        wish -> Text,
        value -> Text,
        reason -> Text,
        asked_by -> Text,
        asked_at -> Timestamp,
    }
}

diesel::table! {
    withdrawal (digest) {
        digest -> Binary,
        blob_id -> Nullable<BigInt>,
        reason -> Text,
        legal -> Bool,
        withdrawn_at -> Timestamp,
    }
}

diesel::table! {
    generation (part) {
        part -> Text,
        value -> BigInt,
    }
}

diesel::table! {
    url_traffic (host_category_url_id) {
        host_category_url_id -> BigInt,
        redirected_at -> Timestamp,
    }
}

diesel::table! {
    host_category_rsync (host_category_id) {
        host_category_id -> BigInt,
        url -> Text,
    }
}

diesel::table! {
    prober (id) {
        id -> BigInt,
        holder -> Text,
        beat_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    url_facts (host_category_url_id) {
        host_category_url_id -> BigInt,
        bytes_per_second -> Nullable<BigInt>,
        multi_range -> Nullable<Text>,
        keeps_alive -> Nullable<Bool>,
        certificate_ends_at -> Nullable<Timestamp>,
        checked_at -> Timestamp,
    }
}

diesel::table! {
    demand (blob_id) {
        blob_id -> BigInt,
        asked_at -> Timestamp,
    }
}

diesel::table! {
    suspicion (host_category_url_id, blob_id) {
        host_category_url_id -> BigInt,
        blob_id -> BigInt,
        first_seen_at -> Timestamp,
    }
}

diesel::table! {
    host_use (host_id) {
        host_id -> BigInt,
        day -> BigInt,
        requests -> BigInt,
        bytes -> BigInt,
    }
}

diesel::table! {
    crawl_cycle (host_category_id) {
        host_category_id -> BigInt,
        started_at -> Timestamp,
        looked -> Binary,
        bodies_since -> Timestamp,
        bodies -> Binary,
        serial -> Nullable<BigInt>,
        caught_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    repair (host_category_id, blob_id) {
        host_category_id -> BigInt,
        blob_id -> BigInt,
        fault -> Text,
        reason -> Text,
    }
}

diesel::table! {
    host_traffic (host_id, hour) {
        host_id -> BigInt,
        hour -> Timestamp,
        bytes -> BigInt,
        own_bytes -> BigInt,
        other_bytes -> BigInt,
    }
}

diesel::table! {
    host_day_traffic (host_id, day) {
        host_id -> BigInt,
        day -> Timestamp,
        requests -> BigInt,
        bytes -> BigInt,
    }
}

diesel::table! {
    way_traffic (period, began_at, way) {
        way -> Text,
        period -> Text,
        began_at -> Timestamp,
        requests -> BigInt,
        bytes -> BigInt,
    }
}

diesel::table! {
    country_traffic (day, country) {
        country -> Text,
        day -> Timestamp,
        requests -> BigInt,
        bytes -> BigInt,
    }
}

diesel::table! {
    budget_alert (period, began_at, percent) {
        period -> Text,
        began_at -> Timestamp,
        percent -> BigInt,
    }
}

diesel::table! {
    host_load (host_id) {
        host_id -> BigInt,
        kept -> BigInt,
    }
}

diesel::table! {
    host_experience (host_id, region, server, began_at) {
        host_id -> BigInt,
        region -> Text,
        server -> BigInt,
        began_at -> Timestamp,
        asked -> Binary,
        failed -> Binary,
    }
}

diesel::table! {
    host_demotion (host_id, region) {
        host_id -> BigInt,
        region -> Text,
        until -> Timestamp,
        reason -> Text,
    }
}

diesel::table! {
    imported_site (site_id) {
        site_id -> BigInt,
        mirrormanager_id -> BigInt,
    }
}

diesel::table! {
    imported_host (host_id) {
        host_id -> BigInt,
        mirrormanager_id -> BigInt,
    }
}

diesel::table! {
    site_admin (site_id, username) {
        site_id -> BigInt,
        username -> Text,
    }
}

diesel::table! {
    embargoed_country (country) {
        country -> Text,
    }
}

diesel::table! {
    repository_alias (alias) {
        alias -> Text,
        repository -> Text,
        expires_at -> Nullable<Timestamp>,
        imported -> Bool,
    }
}

diesel::joinable!(imported_site -> site (site_id));
diesel::joinable!(imported_host -> host (host_id));
diesel::joinable!(site_admin -> site (site_id));
diesel::joinable!(host -> site (site_id));
diesel::joinable!(host_category -> host (host_id));
diesel::joinable!(host_category -> category (category_id));
diesel::joinable!(host_category_url -> host_category (host_category_id));
diesel::joinable!(host_netblock -> host (host_id));
diesel::joinable!(host_peer_asn -> host (host_id));
diesel::joinable!(host_country_allowed -> host (host_id));
diesel::joinable!(host_country_denied -> host (host_id));
diesel::joinable!(manifest -> blob (blob_id));
diesel::joinable!(body -> blob (blob_id));
diesel::joinable!(pieces -> blob (blob_id));
diesel::joinable!(referrer -> manifest (manifest_id));
diesel::joinable!(category_repository -> category (category_id));
diesel::joinable!(category_repository -> repository (repository_id));
diesel::joinable!(tag -> category_repository (category_repository_id));
diesel::joinable!(category_serial -> category (category_id));
diesel::joinable!(holdings -> host_category (host_category_id));
diesel::joinable!(crawl -> host (host_id));
diesel::joinable!(crawl_schedule -> host (host_id));
diesel::joinable!(propagation -> host_category (host_category_id));
diesel::joinable!(host_token -> host (host_id));
diesel::joinable!(site_account -> site (site_id));
diesel::joinable!(site_account -> account (account_id));
diesel::joinable!(session -> account (account_id));
diesel::joinable!(account_token -> account (account_id));
diesel::joinable!(account_token -> host (host_id));
diesel::joinable!(identity -> account (account_id));
diesel::joinable!(approval -> host (host_id));
diesel::joinable!(suspicion -> host_category_url (host_category_url_id));
diesel::joinable!(suspicion -> blob (blob_id));
diesel::joinable!(demand -> blob (blob_id));
diesel::joinable!(host_category_rsync -> host_category (host_category_id));
diesel::joinable!(url_facts -> host_category_url (host_category_url_id));
diesel::joinable!(host_use -> host (host_id));
diesel::joinable!(crawl_cycle -> host_category (host_category_id));
diesel::joinable!(repair -> host_category (host_category_id));
diesel::joinable!(repair -> blob (blob_id));

diesel::allow_tables_to_appear_in_same_query!(
    site,
    host,
    category,
    host_category,
    host_category_url,
    host_netblock,
    host_peer_asn,
    host_country_allowed,
    host_country_denied,
    country_continent_redirect,
    netblock_country,
    imported_site,
    imported_host,
    site_admin,
    embargoed_country,
    repository_alias,
    blob,
    blob_number,
    manifest,
    manifest_blob,
    body,
    pieces,
    referrer,
    repository,
    repository_manifest,
    category_repository,
    tag,
    category_serial,
    holdings,
    crawl,
    crawl_schedule,
    propagation,
    host_token,
    account,
    site_account,
    session,
    account_token,
    identity,
    audit,
    approval,
    withdrawal,
    generation,
    url_traffic,
    prober,
    suspicion,
    demand,
    host_category_rsync,
    url_facts,
    host_use,
    crawl_cycle,
    repair,
    host_traffic,
    host_load,
    host_experience,
    host_demotion,
);
