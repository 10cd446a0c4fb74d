//! One transaction that changes the book in PostgreSQL.

use postgres::types::ToSql;
use postgres::{Row, Transaction};
use tally_attribution::ledger::{
    BookAccount, Due, Earnings, Event, Head, LedgerError, POSTING_LEN_MAX, PaidOut, Payout,
    Resolution, Settled, event_of,
};
use tally_core::account::Account;
use tally_core::cbor::Cbor as _;
use tally_core::sum_tree::{Epoch, EpochSecret};
use tally_core::{Digest, tag};

use super::{Refused as _, amount, digest, paid_out, resolution, signed, transfer_id};

/// The newest payout that stands.
pub(super) const LAST_PAYOUT: &str = "SELECT event, taken_back, record FROM tally_ledger.payouts \
    JOIN tally_ledger.events ON number = event WHERE taken_back = 0 ORDER BY event DESC LIMIT 1";

/// A transaction that holds the journal's head, so that there is one at a time.
pub(super) struct Change<'c> {
    transaction: Transaction<'c>,
    pub(super) head: Head,
    posted_end: u64,
}

impl<'c> Change<'c> {
    pub(super) fn begin(mut transaction: Transaction<'c>) -> Result<Self, LedgerError> {
        let query = "SELECT count, link, posted_end FROM tally_ledger.head FOR UPDATE";
        let row = transaction.query_one(query, &[]).refused()?;
        let [count, posted_end] = [0, 2].map(|column| row.get::<_, i64>(column).cast_unsigned());
        let head = Head { count, link: digest(row.get(1))? };
        Ok(Self { transaction, head, posted_end })
    }

    pub(super) fn commit(mut self) -> Result<(), LedgerError> {
        let (count, link) = (signed(self.head.count), *self.head.link.as_bytes());
        self.execute(
            "UPDATE tally_ledger.head SET count = $1, link = $2, posted_end = $3",
            &[&count, &link.as_slice(), &signed(self.posted_end)],
        )?;
        self.transaction.commit().refused()?;
        Ok(())
    }

    fn execute(
        &mut self,
        statement: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<(), LedgerError> {
        self.transaction.execute(statement, values).refused()?;
        Ok(())
    }

    pub(super) fn append(&mut self, event: &Event) -> Result<(), LedgerError> {
        let (number, record) = (signed(self.head.count), self.head.record(event));
        self.execute("INSERT INTO tally_ledger.events VALUES ($1, $2)", &[&number, &record])?;
        self.head = self.head.behind(&record);
        Ok(())
    }

    pub(super) fn record(&mut self, event: u64) -> Result<Vec<u8>, LedgerError> {
        let query = "SELECT record FROM tally_ledger.events WHERE number = $1";
        let row = self.transaction.query_opt(query, &[&signed(event)]).refused()?;
        Ok(row.ok_or(LedgerError::Event { event, entry: event })?.get(0))
    }

    pub(super) fn due(&mut self, event: u64) -> Result<Due, LedgerError> {
        match event_of(&self.record(event)?)? {
            Event::Booked(due) => Ok(due),
            _ => Err(LedgerError::Event { event, entry: event }),
        }
    }

    /// The event that booked a receipt, and what became of it.
    pub(super) fn booked(
        &mut self,
        receipt: &Digest,
    ) -> Result<Option<(u64, Resolution)>, LedgerError> {
        let query = "SELECT event, posted, resolved, reason FROM tally_ledger.receipts \
                     WHERE receipt = $1";
        let row = self.transaction.query_opt(query, &[&receipt.as_bytes().as_slice()]).refused()?;
        row.map(|row| Ok((row.get::<_, i64>(0).cast_unsigned(), resolution(&row)?))).transpose()
    }

    /// Books one receipt that is not booked.
    pub(super) fn book(&mut self, due: &Due) -> Result<(), LedgerError> {
        let receipt = due.receipt.as_bytes().as_slice();
        self.require_free(due)?;
        let event = signed(self.head.count);
        self.append(&Event::Booked(due.clone()))?;
        self.execute(
            "INSERT INTO tally_ledger.receipts (receipt, event, log_index, deadline_s) \
             VALUES ($1, $2, $3, $4)",
            &[&receipt, &event, &signed(due.log_index), &signed(due.deadline_s())],
        )?;
        let ids: Vec<&[u8]> =
            due.shares.iter().map(|share| share.id.as_bytes().as_slice()).collect();
        let earned = |account| BookAccount::Earned(account).encode();
        let credits: Vec<Vec<u8>> = due.shares.iter().map(|share| earned(share.account)).collect();
        let amounts: Vec<String> =
            due.shares.iter().map(|share| share.amount.to_string()).collect();
        let payer = BookAccount::Payer.encode();
        self.execute(
            "INSERT INTO tally_ledger.transfers (id, receipt, ordinal, phase, debit, credit, amount) \
             SELECT id, $2, ordinal - 1, 0, $5, credit, amount::numeric FROM \
             unnest($1::bytea[], $3::bytea[], $4::text[]) WITH ORDINALITY \
             AS share (id, credit, amount, ordinal)",
            &[&ids, &receipt, &credits, &amounts, &payer],
        )?;
        self.execute(
            "INSERT INTO tally_ledger.accounts AS a (account, debits_pending) \
             VALUES ($1, $2::text::numeric) ON CONFLICT (account) \
             DO UPDATE SET debits_pending = a.debits_pending + excluded.debits_pending",
            &[&payer, &due.amount.to_string()],
        )?;
        self.execute(
            "INSERT INTO tally_ledger.accounts AS a (account, credits_pending) \
             SELECT credit, sum(amount) FROM tally_ledger.transfers \
             WHERE receipt = $1 AND phase = 0 GROUP BY credit ON CONFLICT (account) \
             DO UPDATE SET credits_pending = a.credits_pending + excluded.credits_pending",
            &[&receipt],
        )
    }

    /// Refuses a log index or a transfer's name that another receipt has.
    fn require_free(&mut self, due: &Due) -> Result<(), LedgerError> {
        let (log_index, receipt) = (due.log_index, due.receipt);
        let query = "SELECT receipt FROM tally_ledger.receipts WHERE log_index = $1";
        if let Some(row) = self.transaction.query_opt(query, &[&signed(log_index)]).refused()? {
            let booked = digest(row.get(0))?;
            return Err(LedgerError::LogIndex { log_index, booked, receipt });
        }
        let ids: Vec<&[u8]> =
            due.shares.iter().map(|share| share.id.as_bytes().as_slice()).collect();
        let query = "SELECT id, receipt FROM tally_ledger.transfers \
                     WHERE id = ANY($1) AND phase = 0 ORDER BY id LIMIT 1";
        if let Some(row) = self.transaction.query_opt(query, &[&ids]).refused()? {
            let (id, booked) = (transfer_id(row.get(0))?, digest(row.get(1))?);
            return Err(LedgerError::Transfer { id, booked, receipt });
        }
        Ok(())
    }

    /// Posts at most [`POSTING_LEN_MAX`] receipts.
    pub(super) fn settle(&mut self, now_s: u64) -> Result<Settled, LedgerError> {
        let query = "SELECT event, deadline_s, log_index FROM tally_ledger.receipts \
                     WHERE posted = 0 AND resolved = 0 ORDER BY log_index LIMIT $1";
        let rows = self.transaction.query(query, &[&signed(POSTING_LEN_MAX as u64)]).refused()?;
        let closed = rows.iter().take_while(|row| row.get::<_, i64>(1).cast_unsigned() <= now_s);
        let closed: Vec<(i64, i64)> = closed.map(|row| (row.get(0), row.get(2))).collect();
        let Some((_, last)) = closed.last() else { return Ok(Settled::default()) };
        self.posted_end = self.posted_end.max(last.cast_unsigned() + 1);
        let entries: Vec<i64> = closed.iter().map(|(entry, _)| *entry).collect();
        let number = signed(self.head.count);
        let names = entries.iter().map(|entry| entry.cast_unsigned()).collect();
        self.append(&Event::Posted { now_s, entries: names })?;
        self.resolve(&entries, 1, "debit", "credit")?;
        self.move_balances(
            &entries,
            "debits_pending = a.debits_pending - s.sum, debits_posted = a.debits_posted + s.sum",
            "debit",
        )?;
        self.move_balances(
            &entries,
            "credits_pending = a.credits_pending - s.sum, \
             credits_posted = a.credits_posted + s.sum",
            "credit",
        )?;
        self.execute(
            "UPDATE tally_ledger.receipts SET posted = $1 WHERE event = ANY($2)",
            &[&number, &entries],
        )?;
        let query = "SELECT coalesce(sum(amount), 0)::text FROM tally_ledger.transfers t \
                     JOIN tally_ledger.receipts r USING (receipt) \
                     WHERE r.event = ANY($1) AND t.phase = 0";
        let sum = self.transaction.query_one(query, &[&entries]).refused()?;
        Ok(Settled { count: entries.len() as u64, amount: amount(sum.get(0))? })
    }

    /// Releases a pending receipt's reservations.
    pub(super) fn void(&mut self, entry: u64, reason: &Digest) -> Result<(), LedgerError> {
        let (number, entries) = (signed(self.head.count), [signed(entry)]);
        self.append(&Event::Voided { entry, reason: *reason })?;
        self.resolve(&entries, 2, "debit", "credit")?;
        let debits = "debits_pending = a.debits_pending - s.sum";
        self.move_balances(&entries, debits, "debit")?;
        let credits = "credits_pending = a.credits_pending - s.sum";
        self.move_balances(&entries, credits, "credit")?;
        self.take_back(&entries, number, reason)
    }

    /// Moves a posted receipt's amounts back.
    pub(super) fn correct(&mut self, entry: u64, reason: &Digest) -> Result<(), LedgerError> {
        let (number, entries) = (signed(self.head.count), [signed(entry)]);
        self.append(&Event::Corrected { entry, reason: *reason })?;
        self.resolve(&entries, 3, "credit", "debit")?;
        let debits = "debits_posted = a.debits_posted + s.sum";
        self.move_balances(&entries, debits, "credit")?;
        let credits = "credits_posted = a.credits_posted + s.sum";
        self.move_balances(&entries, credits, "debit")?;
        while self.in_pool()?.starts_with('-') {
            self.take_back_payout(number)?;
        }
        self.take_back(&entries, number, reason)
    }

    /// What came into the pool of feedback less what went out, as a number with its sign.
    fn in_pool(&mut self) -> Result<String, LedgerError> {
        let query = "SELECT (credits_posted - debits_posted)::text FROM tally_ledger.accounts \
                     WHERE account = $1";
        let pool = BookAccount::Earned(Account::Feedback).encode();
        let row = self.transaction.query_opt(query, &[&pool]).refused()?;
        Ok(row.map_or_else(|| "0".to_owned(), |row| row.get(0)))
    }

    pub(super) fn pool(&mut self) -> Result<u128, LedgerError> {
        amount(&self.in_pool()?)
    }

    pub(super) fn last_payout(&mut self) -> Result<Option<PaidOut>, LedgerError> {
        let row = self.transaction.query_opt(LAST_PAYOUT, &[]).refused()?;
        row.map(|row| paid_out(&row)).transpose()
    }

    pub(super) fn pay_out(&mut self, payout: Payout) -> Result<PaidOut, LedgerError> {
        let event = self.head.count;
        self.append(&Event::PaidOut(payout.clone()))?;
        self.execute("INSERT INTO tally_ledger.payouts VALUES ($1)", &[&signed(event)])?;
        self.move_payout(&payout, "debits_posted", "credits_posted")?;
        Ok(PaidOut { event, payout, taken_back: None })
    }

    fn take_back_payout(&mut self, number: i64) -> Result<(), LedgerError> {
        let last = self.last_payout()?.ok_or(LedgerError::Overflow)?;
        self.execute(
            "UPDATE tally_ledger.payouts SET taken_back = $1 WHERE event = $2",
            &[&number, &signed(last.event)],
        )?;
        self.move_payout(&last.payout, "credits_posted", "debits_posted")
    }

    /// Adds a payout to one side of the pool's balance, and to one side of those whom it pays.
    fn move_payout(&mut self, payout: &Payout, pool: &str, payee: &str) -> Result<(), LedgerError> {
        let earned = |account| BookAccount::Earned(account).encode();
        let payees: Vec<Vec<u8>> = payout.payments.iter().map(|(to, _)| earned(*to)).collect();
        let amounts: Vec<String> = payout.payments.iter().map(|(_, it)| it.to_string()).collect();
        self.execute(
            &format!(
                "UPDATE tally_ledger.accounts SET {pool} = {pool} + $2::text::numeric \
                 WHERE account = $1"
            ),
            &[&earned(Account::Feedback), &payout.total().to_string()],
        )?;
        self.execute(
            &format!(
                "INSERT INTO tally_ledger.accounts AS a (account, {payee}) \
                 SELECT account, amount::numeric FROM unnest($1::bytea[], $2::text[]) \
                 AS payment (account, amount) ON CONFLICT (account) \
                 DO UPDATE SET {payee} = a.{payee} + excluded.{payee}"
            ),
            &[&payees, &amounts],
        )
    }

    fn take_back(
        &mut self,
        entries: &[i64],
        number: i64,
        reason: &Digest,
    ) -> Result<(), LedgerError> {
        self.execute(
            "UPDATE tally_ledger.receipts SET resolved = $1, reason = $2 WHERE event = ANY($3)",
            &[&number, &reason.as_bytes().as_slice(), &entries],
        )
    }

    /// Adds the transfers that resolve those of these receipts.
    fn resolve(
        &mut self,
        entries: &[i64],
        phase: u8,
        debit: &str,
        credit: &str,
    ) -> Result<(), LedgerError> {
        let statement = format!(
            "INSERT INTO tally_ledger.transfers \
             SELECT substr(sha256($1 || t.id || $2), 1, 16), t.receipt, t.ordinal, $3, t.id, \
             t.{debit}, t.{credit}, t.amount FROM tally_ledger.transfers t \
             JOIN tally_ledger.receipts r USING (receipt) WHERE r.event = ANY($4) AND t.phase = 0"
        );
        let code = [phase];
        self.execute(
            &statement,
            &[&tag::RESOLUTION.as_bytes(), &code.as_slice(), &i16::from(phase), &entries],
        )
    }

    /// Changes the balances of one side of all pending transfers of these receipts.
    fn move_balances(
        &mut self,
        entries: &[i64],
        change: &str,
        side: &str,
    ) -> Result<(), LedgerError> {
        let statement = format!(
            "UPDATE tally_ledger.accounts a SET {change} FROM \
             (SELECT t.{side} AS account, sum(t.amount) AS sum FROM tally_ledger.transfers t \
             JOIN tally_ledger.receipts r USING (receipt) \
             WHERE r.event = ANY($1) AND t.phase = 0 GROUP BY 1) s WHERE a.account = s.account"
        );
        self.execute(&statement, &[&entries])
    }

    /// Keeps what every account has earned by now, as an epoch's earnings.
    pub(super) fn snapshot(&mut self, epoch: u64) -> Result<Earnings, LedgerError> {
        let statement = "INSERT INTO tally_ledger.earnings \
            SELECT $1, substr(e.account, 2), \
            e.credits_posted - (e.debits_posted - coalesce(p.credits_posted, 0)) AS earned \
            FROM tally_ledger.accounts e LEFT JOIN tally_ledger.accounts p \
            ON p.account = '\\x02'::bytea || substr(e.account, 2) \
            WHERE substr(e.account, 1, 1) = '\\x01' \
            AND e.credits_posted - (e.debits_posted - coalesce(p.credits_posted, 0)) <> 0 \
            RETURNING account, amount::text";
        earnings(&self.transaction.query(statement, &[&signed(epoch)]).refused()?)
    }

    pub(super) fn liability(&mut self) -> Result<u128, LedgerError> {
        let query = "SELECT (debits_posted - credits_posted)::text FROM tally_ledger.accounts \
                     WHERE account = '\\x00'";
        let row = self.transaction.query_opt(query, &[]).refused()?;
        row.map_or(Ok(0), |row| amount(row.get(0)))
    }

    pub(super) fn close(&mut self, epoch: &Epoch, secret: &EpochSecret) -> Result<(), LedgerError> {
        let number = signed(self.head.count);
        self.append(&Event::Closed { epoch: epoch.clone(), secret: secret.clone() })?;
        self.execute(
            "INSERT INTO tally_ledger.epochs VALUES ($1, $2)",
            &[&signed(epoch.number), &number],
        )
    }

    pub(super) fn claim(&mut self, epoch: u64, account: &Account) -> Result<u128, LedgerError> {
        let (number, key) = (signed(epoch), account.encode());
        let query = "SELECT amount::text FROM tally_ledger.claims \
                     WHERE epoch = $1 AND account = $2";
        if let Some(row) = self.transaction.query_opt(query, &[&number, &key]).refused()? {
            return amount(row.get(0));
        }
        let query = "SELECT 1 FROM tally_ledger.epochs WHERE epoch = $1";
        if self.transaction.query_opt(query, &[&number]).refused()?.is_none() {
            return Err(LedgerError::NoEpoch { number: epoch });
        }
        let query = "SELECT greatest(0, least(coalesce(s.amount, 0), \
            e.credits_posted - (e.debits_posted - coalesce(p.credits_posted, 0))) \
            - coalesce(p.credits_posted, 0))::text FROM tally_ledger.accounts e \
            LEFT JOIN tally_ledger.accounts p ON p.account = '\\x02'::bytea || $2 \
            LEFT JOIN tally_ledger.earnings s ON s.epoch = $1 AND s.account = $2 \
            WHERE e.account = '\\x01'::bytea || $2";
        let row = self.transaction.query_opt(query, &[&number, &key]).refused()?;
        let claim = row.map_or(Ok(0), |row| amount(row.get(0)))?;
        if claim > 0 {
            self.pay(epoch, account, claim)?;
        }
        Ok(claim)
    }

    fn pay(&mut self, epoch: u64, account: &Account, claim: u128) -> Result<(), LedgerError> {
        let (key, text) = (account.encode(), claim.to_string());
        self.append(&Event::Claimed { epoch, account: *account, amount: claim })?;
        self.execute(
            "INSERT INTO tally_ledger.claims VALUES ($1, $2, $3::text::numeric)",
            &[&signed(epoch), &key, &text],
        )?;
        self.execute(
            "UPDATE tally_ledger.accounts SET debits_posted = debits_posted + $2::text::numeric \
             WHERE account = $1",
            &[&BookAccount::Earned(*account).encode(), &text],
        )?;
        self.execute(
            "INSERT INTO tally_ledger.accounts AS a (account, credits_posted) \
             VALUES ($1, $2::text::numeric) ON CONFLICT (account) \
             DO UPDATE SET credits_posted = a.credits_posted + excluded.credits_posted",
            &[&BookAccount::Paid(*account).encode(), &text],
        )
    }
}

/// From encoded accounts and amounts.
pub(super) fn earnings(rows: &[Row]) -> Result<Earnings, LedgerError> {
    rows.iter().map(|row| Ok((Account::parse(row.get(0))?, amount(row.get(1))?))).collect()
}
