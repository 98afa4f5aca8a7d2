// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// A mutex of one word. Not the C library's, because a room's state lives in
// zeroed memory that no initialiser runs for, and a forked child must be able to
// declare it free.

import CTLD
import Synchronization

struct Lock: ~Copyable {
  private static let free: UInt32 = 0
  private static let held: UInt32 = 1
  private static let contended: UInt32 = 2  // held, and somebody may sleep

  private let word = Atomic<UInt32>(Lock.free)

  func acquire() {
    if word.compareExchange(expected: Self.free, desired: Self.held, ordering: .acquiring).exchanged {
      return
    }
    while word.exchange(Self.contended, ordering: .acquiring) != Self.free {
      ctld_futex_wait(address, Self.contended)
    }
  }

  func release() {
    if word.exchange(Self.free, ordering: .releasing) == Self.contended {
      ctld_futex_wake_one(address)
    }
  }

  /// In a forked child: whoever slept for the lock is not here.
  func reset() {
    word.store(Self.free, ordering: .relaxed)
  }

  private var address: UnsafeMutableRawPointer {
    unsafe withUnsafePointer(to: self) { UnsafeMutableRawPointer(mutating: $0) }
  }
}
