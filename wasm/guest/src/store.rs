//! `halite:store`, exported.

use crate::Component;
use crate::opened::{block_on, opened, write};
use bindings::exports::halite::store::store as wit;
use halite_bucket::{Bucket, Scan, Snapshot, Transaction, Write};
use std::cell::RefCell;
use wit::Error;

pub(crate) mod bindings {
    //! What wit-bindgen makes of the WIT.
    #![allow(unreachable_pub, unsafe_op_in_unsafe_fn, clippy::all)]
    wit_bindgen::generate!({ path: "../wit/store", world: "exports" });
    use crate::Component;
    export!(Component);
}

halite_bucket::store_words!(wit);

fn scanned(scan: Scan) -> wit::Scan {
    wit::Scan::new(RefCell::new(scan))
}

impl wit::Guest for Component {
    type Bucket = Bucket;
    type Scan = RefCell<Scan>;
    type Snapshot = Snapshot;
    type Transaction = RefCell<Transaction>;

    fn open(name: String) -> Result<wit::Bucket, Error> {
        Ok(wit::Bucket::new(opened()?.buckets.open(&name)?))
    }
}

impl wit::GuestBucket for Bucket {
    fn get(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, Error> {
        Ok(block_on(self.get(&key))?.map(Vec::from))
    }

    fn get_record(&self, key: Vec<u8>) -> Result<Option<wit::Record>, Error> {
        Ok(block_on(self.get_record(&key))?.map(wit::Record::from))
    }

    fn exists(&self, key: Vec<u8>) -> Result<bool, Error> {
        Ok(block_on(self.contains(&key))?)
    }

    fn get_lifetime(&self, key: Vec<u8>) -> Result<Option<wit::Lifetime>, Error> {
        Ok(block_on(self.ttl(&key))?.map(lifetime))
    }

    fn put(&self, key: Vec<u8>, value: Vec<u8>, lifetime: wit::Lifetime) -> Result<(), Error> {
        Ok(write(self.put(&key, &value, ttl(lifetime)))?)
    }

    fn delete(&self, key: Vec<u8>) -> Result<(), Error> {
        Ok(write(self.delete(&key))?)
    }

    fn delete_keys(&self, keys: wit::Keys) -> Result<(), Error> {
        Ok(write(self.delete_keys(&keys.into()))?)
    }

    fn write(&self, writes: Vec<wit::Write>) -> Result<(), Error> {
        Ok(write(self.write(writes.into_iter().map(Write::from).collect()))?)
    }

    fn compare_and_swap(&self, key: Vec<u8>, old: Option<Vec<u8>>, new: Option<Vec<u8>>) -> Result<bool, Error> {
        Ok(write(self.compare_and_swap(&key, old.as_deref(), new.as_deref()))?)
    }

    fn increment(&self, key: Vec<u8>, delta: i64) -> Result<i64, Error> {
        Ok(write(self.increment(&key, delta))?)
    }

    fn set_lifetime(&self, key: Vec<u8>, lifetime: wit::Lifetime) -> Result<bool, Error> {
        Ok(write(self.expire(&key, ttl(lifetime)))?)
    }

    fn scan(&self, keys: wit::Keys, order: wit::Order) -> Result<wit::Scan, Error> {
        let (reverse, keys_only) = self::order(order);
        Ok(scanned(self.scan(&keys.into(), reverse, keys_only)))
    }

    fn snapshot(&self) -> Result<wit::Snapshot, Error> {
        Ok(wit::Snapshot::new(self.snapshot()))
    }

    fn begin(&self, isolation: wit::Isolation) -> Result<wit::Transaction, Error> {
        let serializable = isolation == wit::Isolation::Serializable;
        Ok(wit::Transaction::new(RefCell::new(self.begin(serializable))))
    }
}

impl wit::GuestScan for RefCell<Scan> {
    fn next(&self, max: u32) -> Result<Vec<wit::Record>, Error> {
        Ok(records(block_on(self.borrow_mut().next(max as usize))?))
    }
}

impl wit::GuestSnapshot for Snapshot {
    fn get(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, Error> {
        Ok(block_on(self.get(&key))?.map(Vec::from))
    }

    fn scan(&self, keys: wit::Keys, order: wit::Order) -> Result<wit::Scan, Error> {
        let (reverse, keys_only) = self::order(order);
        Ok(scanned(self.scan(&keys.into(), reverse, keys_only)))
    }
}

impl wit::GuestTransaction for RefCell<Transaction> {
    fn get(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, Error> {
        Ok(block_on(self.borrow().get(&key))?.map(Vec::from))
    }

    fn scan(&self, keys: wit::Keys, order: wit::Order) -> Result<wit::Scan, Error> {
        let (reverse, keys_only) = self::order(order);
        Ok(scanned(self.borrow().scan(&keys.into(), reverse, keys_only)))
    }

    fn put(&self, key: Vec<u8>, value: Vec<u8>, lifetime: wit::Lifetime) -> Result<(), Error> {
        Ok(self.borrow_mut().put(&key, &value, ttl(lifetime))?)
    }

    fn delete(&self, key: Vec<u8>) -> Result<(), Error> {
        Ok(self.borrow_mut().delete(&key)?)
    }

    fn delete_keys(&self, keys: wit::Keys) -> Result<(), Error> {
        Ok(self.borrow_mut().delete_keys(&keys.into())?)
    }

    fn commit(transaction: wit::Transaction) -> Result<(), Error> {
        let transaction = transaction.into_inner::<RefCell<Transaction>>().into_inner();
        Ok(write(transaction.commit())?)
    }
}
