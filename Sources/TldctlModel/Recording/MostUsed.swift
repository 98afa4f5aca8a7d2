// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The most used of a stream of keys, in memory that has a bound. A program that is recorded may
// have a new value, or a new thread, at every switch.

/// Keeps up to twice as many keys as it is to keep. When there are more, the lesser half goes.
///
/// A key's rank is its weight since it came, and what it may have had before that, which is
/// `floor`: the largest rank that ever went. Thus newcomers push out other newcomers, not a key
/// that is in use. With W as the sum of all weights, a key with more than W / `most` stays, and
/// a key that stays has lost at most W / `most`. For `floor` never exceeds that: when it grows,
/// `most` ranks at least are as high, and what ranks have above it comes from weights only.
struct MostUsed<Key: Hashable & Sendable, Content: Sendable>: Sendable {
  struct Entry: Sendable {
    /// In the order in which they came. A key that went and comes again gets another one.
    let id: Int
    var rank: UInt64
    var content: Content
  }

  let most: Int
  private(set) var entries: [Key: Entry] = [:]
  private var floor: UInt64 = 0
  private var nextID = 0
  /// Some went: those that are there are not all.
  private(set) var hasOthers = false

  init(most: Int) { self.most = most }

  var isMoreThanMost: Bool { hasOthers || entries.count > most }
  /// At most `most`.
  var count: Int { min(entries.count, most) }

  /// The key's id. It has this content from now on.
  mutating func use(_ key: Key, _ content: Content, weight: UInt64) -> Int {
    if let index = entries.index(forKey: key) {
      entries.values[index].rank = entries.values[index].rank.plus(weight)
      entries.values[index].content = content
      return entries.values[index].id
    }
    if entries.count >= 2 * most { prune() }
    let id = nextID
    nextID += 1
    entries[key] = Entry(id: id, rank: floor.plus(weight), content: content)
    return id
  }

  /// Those that are kept to the end, in the order of their ids.
  mutating func finish() -> [(key: Key, value: Entry)] {
    if entries.count > most { prune() }
    return entries.sorted { $0.value.id < $1.value.id }
  }

  /// Of equal ranks the younger stay: more of them is to come.
  private mutating func prune() {
    let ranked = entries.sorted { ($1.value.rank, $1.value.id) < ($0.value.rank, $0.value.id) }
    floor = ranked[most].value.rank
    for entry in ranked.dropFirst(most) { entries[entry.key] = nil }
    hasOthers = true
  }
}
