// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Where the randomised tests get their numbers from: one seed a run, printed, so
// that a failure can be repeated with TLD_TEST_SEED.

import Glibc

struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  /// A sequence of its own for each test and round, whatever order they run in.
  init(_ test: String = #function, round: Int = 0) {
    state = Self.seed &+ UInt64(round) &* 0xD134_2543_DE82_EF95
    for byte in test.utf8 { state = (state ^ UInt64(byte)) &* 0x100_0000_01B3 }
  }

  /// SplitMix64.
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &self) }

  /// True once in `n`.
  mutating func oneIn(_ n: Int) -> Bool { below(n) == 0 }

  mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }

  static let seed: UInt64 = {
    let chosen = getenv("TLD_TEST_SEED").flatMap { UInt64(String(cString: $0)) }
    let seed = chosen ?? UInt64.random(in: 0...UInt64(UInt32.max))
    print("seed \(seed): TLD_TEST_SEED=\(seed) repeats the randomised tests of this run")
    return seed
  }()
}
