-- The book's tables. Amounts are below 2^128; events, times and log indices below 2^63.
CREATE SCHEMA IF NOT EXISTS tally_ledger;

CREATE TABLE IF NOT EXISTS tally_ledger.head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    count bigint NOT NULL DEFAULT 0,
    link bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
    posted_end bigint NOT NULL DEFAULT 0
);
INSERT INTO tally_ledger.head DEFAULT VALUES ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS tally_ledger.events (
    number bigint PRIMARY KEY,
    record bytea NOT NULL
);

DO $$ BEGIN
    CREATE DOMAIN tally_ledger.amount AS numeric(39, 0) NOT NULL
        CHECK (VALUE >= 0 AND VALUE < 340282366920938463463374607431768211456);
EXCEPTION WHEN duplicate_object THEN NULL;
END $$;

CREATE TABLE IF NOT EXISTS tally_ledger.accounts (
    account bytea PRIMARY KEY,
    debits_pending tally_ledger.amount DEFAULT 0,
    debits_posted tally_ledger.amount DEFAULT 0,
    credits_pending tally_ledger.amount DEFAULT 0,
    credits_posted tally_ledger.amount DEFAULT 0
);

CREATE TABLE IF NOT EXISTS tally_ledger.receipts (
    receipt bytea PRIMARY KEY,
    event bigint NOT NULL UNIQUE,
    log_index bigint NOT NULL UNIQUE,
    deadline_s bigint NOT NULL,
    posted bigint NOT NULL DEFAULT 0,
    resolved bigint NOT NULL DEFAULT 0,
    reason bytea
);
CREATE INDEX IF NOT EXISTS pending ON tally_ledger.receipts (log_index)
    WHERE posted = 0 AND resolved = 0;

CREATE TABLE IF NOT EXISTS tally_ledger.transfers (
    id bytea PRIMARY KEY,
    receipt bytea NOT NULL REFERENCES tally_ledger.receipts,
    ordinal integer NOT NULL,
    phase smallint NOT NULL,
    resolves bytea REFERENCES tally_ledger.transfers,
    debit bytea NOT NULL,
    credit bytea NOT NULL,
    amount tally_ledger.amount,
    UNIQUE (receipt, phase, ordinal)
);

CREATE TABLE IF NOT EXISTS tally_ledger.epochs (
    epoch bigint PRIMARY KEY,
    event bigint NOT NULL
);

CREATE TABLE IF NOT EXISTS tally_ledger.payouts (
    event bigint PRIMARY KEY,
    taken_back bigint NOT NULL DEFAULT 0
);

CREATE TABLE IF NOT EXISTS tally_ledger.earnings (
    epoch bigint NOT NULL,
    account bytea NOT NULL,
    amount tally_ledger.amount,
    PRIMARY KEY (epoch, account)
);

CREATE TABLE IF NOT EXISTS tally_ledger.claims (
    epoch bigint NOT NULL,
    account bytea NOT NULL,
    amount tally_ledger.amount,
    PRIMARY KEY (epoch, account)
);
