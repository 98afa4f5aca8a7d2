// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// A mutex of one word, which names its holder. Not the C library's, because a component's
// state lives in zeroed memory that no initialiser runs for, and a forked child must be
// able to tell whether the holder is the one thread that lives there.

import CTLD
import Synchronization

struct Lock: ~Copyable {
  private static let free: UInt = 0
  /// Beside the holder: somebody may sleep.
  private static let contended: UInt = 1

  private let word = Atomic<UInt>(Lock.free)

  /// Its address is the thread's name, and even.
  private var me: UInt { UInt(bitPattern: ctld_self()) }

  func acquire() {
    let me = me
    if word.compareExchange(expected: Self.free, desired: me, ordering: .acquiring).exchanged { return }
    while true {
      let seen = word.load(ordering: .relaxed)
      if seen == Self.free {
        // Others may sleep still.
        if word.compareExchange(expected: seen, desired: me | Self.contended, ordering: .acquiring).exchanged {
          return
        }
      } else if seen & Self.contended != 0
        || word.compareExchange(expected: seen, desired: seen | Self.contended, ordering: .relaxed).exchanged {
        ctld_futex_wait(address, UInt32(truncatingIfNeeded: seen | Self.contended))
      }
    }
  }

  func release() {
    if word.exchange(Self.free, ordering: .releasing) & Self.contended != 0 {
      ctld_futex_wake_one(address)
    }
  }

  var isFree: Bool { word.load(ordering: .relaxed) == Self.free }
  var isMine: Bool { word.load(ordering: .relaxed) & ~Self.contended == me }

  /// In a forked child: whoever held the lock or slept for it is not here.
  func reset() {
    word.store(Self.free, ordering: .relaxed)
  }

  /// The word's lower half, which is what futex(2) compares.
  private var address: UnsafeMutableRawPointer {
    unsafe withUnsafePointer(to: self) { UnsafeMutableRawPointer(mutating: $0) }
  }
}

/// Opens once; one thread waits for that.
struct Latch: ~Copyable {
  private let word = Atomic<UInt32>(0)

  func open() {
    word.store(1, ordering: .releasing)
    ctld_futex_wake_one(address)
  }

  func wait() {
    while word.load(ordering: .acquiring) == 0 { ctld_futex_wait(address, 0) }
  }

  private var address: UnsafeMutableRawPointer {
    unsafe withUnsafePointer(to: self) { UnsafeMutableRawPointer(mutating: $0) }
  }
}
