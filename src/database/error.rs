use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection could be made, or all were busy for too long.
    #[error("cannot reach the database {database}: {reason}")]
    Connect {
        /// Its URL without the password.
        database: String,
        /// What the engine said.
        reason: String,
    },
    /// There is something of that name already.
    #[error("{0}")]
    Exists(String),
    /// MirrorManager's database cannot be read.
    #[error("MirrorManager's database {database} cannot be read: {reason}")]
    MirrorManager {
        /// Its URL without the password.
        database: String,
        /// What is wrong.
        reason: String,
    },
    /// A statement failed.
    #[error("the database failed: {0}")]
    Query(DieselError),
    /// The tables are not those of this program.
    #[error("the database {database} is not up to date: run `portolan migrate` (missing: {missing})")]
    NotMigrated {
        /// Its URL without the password.
        database: String,
        /// The names of the migrations that have not run.
        missing: String,
    },
    /// A migration failed; the database is as it was before it.
    #[error("cannot migrate the database {database}: {reason}")]
    Migrate {
        /// Its URL without the password.
        database: String,
        /// What the engine said.
        reason: String,
    },
}

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, information) => {
                Self::Exists(information.message().to_owned())
            }
            other => Self::Query(other),
        }
    }
}

/// Says in people's words what exists already, where the engine names a constraint.
pub(super) fn exists(error: DieselError, what: impl FnOnce() -> String) -> DieselError {
    match error {
        DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => DieselError::DatabaseError(
            DatabaseErrorKind::UniqueViolation,
            Box::new(format!("{} exists already", what())),
        ),
        other => other,
    }
}
