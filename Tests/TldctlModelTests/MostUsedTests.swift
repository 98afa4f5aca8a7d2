// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause

import Testing

@testable import TldctlModel

@Suite struct MostUsedTests {
  @Test("As long as there are few, all stay, each with its id and its last content")
  func few() {
    var used = MostUsed<String, Int>(most: 3)
    let ids = ["a", "b", "a", "c", "b"].enumerated().map { used.use($1, $0, weight: 1) }
    #expect(ids == [0, 1, 0, 2, 1])
    #expect(!used.isMoreThanMost && used.count == 3)
    let kept = used.finish()
    #expect(kept.map(\.key) == ["a", "b", "c"] && kept.map(\.value.content) == [2, 4, 3])
    #expect(!used.isMoreThanMost)
  }

  @Test("One more than are kept is said at once, and the least used goes")
  func oneMore() {
    var used = MostUsed<Int, Void>(most: 2)
    for (key, weight) in [(1, 5), (2, 1), (3, 2)] as [(Int, UInt64)] { _ = used.use(key, (), weight: weight) }
    #expect(used.isMoreThanMost && used.count == 2)
    #expect(used.finish().map(\.key) == [1, 3])
    #expect(used.isMoreThanMost)
  }

  @Test("Those with more than their part of the time stay under a flood, with all of it but a part", arguments: [1, 10, 100])
  func flood(most: Int) {
    var used = MostUsed<Int, Void>(most: most), total: UInt64 = 0, ids: [Int: Int] = [:], lost: UInt64 = 0
    // Keys below 0 are heavy; one of them comes late, when each newcomer has a large rank.
    for round in 0..<2000 * most {
      let isHeavy = round % 2 == 0, isLate = most > 1 && round > 1000 * most && round % 4 == 0
      let key = isHeavy ? (isLate ? -2 : -1) : round, weight: UInt64 = isHeavy ? 40 : 30
      let id = used.use(key, (), weight: weight)
      if isHeavy, ids.updateValue(id, forKey: key) ?? id != id { lost += weight }
      total += weight
    }
    let kept = used.finish()
    #expect(kept.count == most)
    for key in ids.keys { #expect(kept.contains { $0.key == key && $0.value.id == ids[key] }) }
    #expect(lost <= total / UInt64(most))
  }

  @Test("A key that becomes heavy late stays, though others that are not used any more were heavier")
  func late() {
    var used = MostUsed<Int, Void>(most: 10)
    for key in 1...10 { _ = used.use(-key, (), weight: 1000) }
    var total: UInt64 = 10_000, late: UInt64 = 0
    for fresh in 1...20_000 {
      _ = used.use(fresh, (), weight: 1)
      if fresh % 5 == 0 {
        _ = used.use(0, (), weight: 1)
        late += 1
      }
      total += fresh % 5 == 0 ? 2 : 1
    }
    #expect(late > total / 10)
    #expect(used.finish().contains { $0.key == 0 })
  }

  @Test("A key that went and comes again has another id, and no more than twice as many are kept")
  func bound() {
    var used = MostUsed<Int, Void>(most: 4)
    let first = used.use(0, (), weight: 1)
    for key in 1...1000 {
      _ = used.use(key, (), weight: 2)
      #expect(used.entries.count <= 8)
    }
    #expect(used.use(0, (), weight: 1) != first)
    #expect(Set(used.finish().map(\.value.id)).count == 4)
  }

  @Test("Weights that are too large for a sum stop at the largest")
  func saturation() {
    var used = MostUsed<Int, Void>(most: 1)
    for key in 0..<10 { _ = used.use(key % 3, (), weight: .max) }
    #expect(used.finish().count == 1)
  }
}
