// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Compiled together with Sources/TLD by tests-c/package/drd.sh, this takes the place of
// Synchronization.Atomic: the same operations, of which atomic.c tells DRD what they order.
// By itself DRD cannot know: on many processors an acquiring load is a load. What is relaxed
// orders nothing here either, so that a plain access that relies on it is reported.

import Synchronization

@_silgen_name("drd_load") private func drdLoad(
  _ variable: UnsafeRawPointer, _ result: UnsafeMutableRawPointer, _ size: Int, _ acquires: Bool)
@_silgen_name("drd_exchange") private func drdExchange(
  _ variable: UnsafeRawPointer, _ desired: UnsafeRawPointer, _ original: UnsafeMutableRawPointer, _ size: Int,
  _ acquires: Bool, _ releases: Bool)
@_silgen_name("drd_compare_exchange") private func drdCompareExchange(
  _ variable: UnsafeRawPointer, _ expected: UnsafeMutableRawPointer, _ desired: UnsafeRawPointer, _ size: Int,
  _ acquires: Bool, _ releases: Bool) -> Bool

enum Ordering { case relaxed, acquiring, releasing }

struct Atomic<Value: AtomicRepresentable & BitwiseCopyable>: ~Copyable {
  /// The memory, at an address that stays.
  private let storage: Synchronization.Atomic<Value>

  init(_ initial: Value) { storage = Synchronization.Atomic(initial) }

  private var address: UnsafeRawPointer {
    unsafe withUnsafePointer(to: self) { UnsafeRawPointer($0) }
  }

  func load(ordering: Ordering) -> Value {
    withUnsafeTemporaryAllocation(of: Value.self, capacity: 1) { result in
      drdLoad(address, result.baseAddress!, MemoryLayout<Value>.size, ordering == .acquiring)
      return result[0]
    }
  }

  func store(_ desired: Value, ordering: Ordering) { _ = exchange(desired, ordering: ordering) }

  func exchange(_ desired: Value, ordering: Ordering) -> Value {
    withUnsafeTemporaryAllocation(of: Value.self, capacity: 2) { values in
      values[0] = desired
      drdExchange(address, values.baseAddress!, values.baseAddress! + 1, MemoryLayout<Value>.size,
                  ordering == .acquiring, ordering == .releasing)
      return values[1]
    }
  }

  func compareExchange(expected: Value, desired: Value,
                       ordering: Ordering) -> (exchanged: Bool, original: Value) {
    withUnsafeTemporaryAllocation(of: Value.self, capacity: 2) { values in
      values[0] = expected
      values[1] = desired
      let exchanged = drdCompareExchange(address, values.baseAddress!, values.baseAddress! + 1,
                                         MemoryLayout<Value>.size, ordering == .acquiring,
                                         ordering == .releasing)
      return (exchanged, values[0])
    }
  }
}
