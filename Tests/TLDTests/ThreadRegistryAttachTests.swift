// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Maps that are attached: every thread is in them, whatever it passed itself.

import CTLD
import Glibc
import Testing

@testable import TLD

@Suite struct ThreadRegistryAttachTests {
  // MARK: Attaching

  @Test("attaching publishes every thread that has data, and each further one at its first use",
        arguments: [16, 24, 64])
  func attachesAll(valueSize: Int) throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: valueSize)
    let early = (10..<30).map { process.thread($0) }
    for thread in early {
      #expect(try thread.enter(), "it was registered before")
      thread.write(UInt64(thread.task))
    }
    #expect(process.kernel.count(.update) == 0 && process.servedMaps.isEmpty)
    let idle = process.thread(40)
    #expect(try early[3].attach(map) == nil)
    for thread in early { thread.expectPublished(in: map) }
    idle.expectAbsent(from: map)

    #expect(try idle.enter())
    idle.write(40)
    let other = process.kernel.makeMap(valueSize: 24)
    let viaOther = process.thread(41)
    try viaOther.enter(other)
    viaOther.write(41)
    let viaPublish = process.thread(42)
    let published = try viaPublish.publish()
    #expect(published.isNew && published.failure == nil)
    for thread in [idle, viaOther, viaPublish] { thread.expectPublished(in: map) }
    viaOther.expectPublished(in: other)
    idle.expectAbsent(from: other)
    process.expectSound()
  }

  @Test("a thread that has no data is not given any by attaching")
  func attachAlone() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let thread = process.thread(10)
    #expect(try thread.attach(map) == nil)
    #expect(!thread.isRegistered && process.records.isEmpty && process.pages == 0)
    #expect(process.kernel.elementCount == 0 && process.servedMaps.count == 1)
    process.expectSound()
  }

  @Test("without a map the fast path needs no call, and attaching leaves it as it is")
  func fastPath() throws {
    let process = ModelProcess()
    let second = try process.createKey("second", size: 13, budget: 48)
    let map = process.kernel.makeMap(valueSize: 24)
    let thread = process.thread(10)
    #expect(thread.fastPath(0) == nil)
    try thread.enter()
    #expect(thread.fastPath(0) == thread.base && thread.fastPath(8) == thread.base + second.offset)
    #expect(thread.fastPath(21) == nil && thread.fastPath(-1) == nil)
    #expect(thread.mapFD == .min && thread.fastPath(map, 0) == nil)
    let base = thread.base
    try process.thread(11).attach(map)
    #expect(thread.fastPath(0) == base)
    thread.expectPublished(in: map)
    try thread.enter(map)
    #expect(thread.fastPath(map, 0) == base && thread.fastPath(0) == base)
    process.expectSound()
  }

  @Test("a TLD that does not fit is E2BIG without a map too, and a new thread's memory is taken back")
  func tooBig() throws {
    let process = ModelProcess(budget: 48)
    let thread = process.thread(10)
    try thread.attach(process.kernel.makeMap(valueSize: 24))  // blocks are packed from now on
    try thread.enter()
    let large = try process.createKey("large", size: 60, budget: 80)
    #expect(errno { () throws(Errno) in try thread.enter(large) } == E2BIG)
    #expect(thread.fastPath(0) == thread.base && thread.fastPath(8) == nil)
    process.keys.page!.size = 0
    let late = process.thread(11)
    #expect(errno { () throws(Errno) in try late.enter(large) } == E2BIG)
    #expect(!late.isRegistered && process.records.count == 1)
    process.expectSound()
  }

  @Test("attaching the same map again, by any descriptor, changes nothing")
  func attachTwice() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let again = process.kernel.reopen(map)
    let thread = process.thread(10)
    try thread.enter()
    try thread.attach(map)
    let updates = process.kernel.count(.update)
    for fd in [map, again, again] { #expect(try thread.attach(fd) == nil) }
    #expect(process.kernel.count(.update) == updates, "a reader could miss what is published anew")
    #expect(process.servedMaps.count == 1)
    process.expectSound()
    try thread.detach(again)
    thread.expectAbsent(from: map)
    #expect(process.servedMaps.isEmpty && process.kernel.heldMaps.isEmpty)
    process.expectSound()
  }

  @Test("an attached map stays when the program closes its descriptor, and without any thread")
  func ownDescriptor() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let id = process.kernel.id(of: map)
    let thread = process.thread(10)
    try thread.enter()
    try thread.attach(map)
    process.kernel.closeProgrammes(map)
    thread.exit()
    #expect(process.kernel.exists(map: id))
    let next = process.thread(11)
    try next.enter()
    #expect(next.unpublished(in: id) == nil)
    try process.registry.detach(id)
    #expect(!process.kernel.exists(map: id), "the duplicate is still open")
    process.expectSound()
  }

  @Test("a map that is none is not attached, by the errno of a thread's own call")
  func refused() throws {
    let process = ModelProcess()
    let thread = process.thread(10)
    try thread.enter()
    let foreign = (0..<24).map { UInt8($0) }
    let fake = process.kernel.makeMap(valueSize: 24, uptrs: [0])
    process.kernel.putForeign(foreign, in: fake, for: 10)
    for (fd, code) in [(FileDescriptor(number: 99), EBADF), (FileDescriptor(number: -1), EBADF), (fake, EINVAL),
                       (process.kernel.makeMap(valueSize: 20), EINVAL),
                       (process.kernel.makeMap(valueSize: 24, isTaskStorage: false), EINVAL)] {
      #expect(errno { () throws(Errno) in try thread.attach(fd) } == code)
      #expect(errno { () throws(Errno) in try thread.detach(fd) } != nil)
    }
    process.kernel.becomeOld()
    #expect(errno { () throws(Errno) in try thread.attach(fake) } == EOPNOTSUPP)
    #expect(process.servedMaps.isEmpty && process.kernel.element(process.kernel.id(of: fake), 10)?.bytes == foreign)
    process.expectSound()
  }

  @Test("a thread that freed its data is published by its next use, not by attaching")
  func freed() throws {
    let process = ModelProcess()
    let maps = [24, 24].map { process.kernel.makeMap(valueSize: $0) }
    let thread = process.thread(10)
    let other = process.thread(11)
    try thread.enter()
    try thread.attach(maps[0])
    thread.expectPublished(in: maps[0])
    thread.withdrawAndClear()
    for map in maps {
      #expect(try other.attach(map) == nil)
      thread.expectAbsent(from: map)
    }
    #expect(thread.fastPath(0) == nil)
    try thread.enter()
    thread.expectPublished(in: maps[0], maps[1])
    process.expectSound()
  }

  @Test("a thread that leaves, and comes back in a later destructor, is withdrawn from what is attached each time")
  func leaving() throws {
    let process = ModelProcess()
    let maps = [24, 40].map { process.kernel.makeMap(valueSize: $0) }
    let thread = process.thread(10)
    for map in maps { try thread.attach(map) }
    for _ in 0..<3 {
      #expect(try thread.enter())
      thread.expectPublished(in: maps[0], maps[1])
      thread.leave()
      thread.expectAbsent(from: maps[0], maps[1])
    }
    #expect(process.records.isEmpty && process.servedMaps.count == 2)
    process.expectSound()
  }

  // MARK: Detaching

  @Test("detaching withdraws every thread, by any descriptor or by id; data and pointers stay",
        arguments: [false, true])
  func detaches(byID: Bool) throws {
    let process = ModelProcess()
    let maps = [24, 32].map { process.kernel.makeMap(valueSize: $0) }
    let threads = (10..<20).map { process.thread($0) }
    for thread in threads {
      try thread.enter()
      thread.write(UInt64(thread.task))
    }
    for map in maps { try threads[0].attach(map) }
    let bases = threads.map(\.base)
    let again = process.kernel.reopen(maps[0])
    if byID { try process.registry.detach(process.kernel.id(of: maps[0])) } else { try threads[1].detach(again) }
    for (thread, base) in zip(threads, bases) {
      thread.expectAbsent(from: maps[0])
      thread.expectPublished(in: maps[1])
      #expect(thread.base == base && thread.word == UInt64(thread.task) && thread.fastPath(0) == base)
    }
    process.expectSound()
    let late = process.thread(30)
    try late.enter()
    late.expectAbsent(from: maps[0])
    try threads[0].attach(maps[0])
    for thread in threads + [late] { thread.expectPublished(in: maps[0]) }
    process.expectSound()
  }

  @Test("what is not known is ENOENT to detach, id 0 included")
  func unknown() throws {
    let process = ModelProcess()
    let maps = [24, 24].map { process.kernel.makeMap(valueSize: $0) }
    let thread = process.thread(10)
    try thread.enter()
    try thread.attach(maps[0])
    #expect(errno { () throws(Errno) in try thread.detach(maps[1]) } == ENOENT)
    for id in [0, 999, UInt32.max] {
      #expect(errno { () throws(Errno) in try process.registry.detach(id) } == ENOENT)
    }
    try thread.detach(maps[0])
    #expect(errno { () throws(Errno) in try thread.detach(maps[0]) } == ENOENT)
    process.expectSound()
  }

  @Test("a map that is known by a thread's own call only can be detached, and the next such call publishes again")
  func detachesOwnMaps() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let threads = (10..<13).map { process.thread($0) }
    for thread in threads { try thread.enter(map) }
    try process.thread(20).detach(map)
    for thread in threads {
      thread.expectAbsent(from: map)
      #expect(thread.fastPath(map, 0) == nil, "it would not notice")
    }
    #expect(process.servedMaps.isEmpty)
    try threads[0].enter()
    threads[0].expectAbsent(from: map)
    try threads[1].enter(map)
    threads[1].expectPublished(in: map)
    threads[2].expectAbsent(from: map)
    process.expectSound()
  }

  @Test("what could not be withdrawn is reported and tried again by the next detach, and not published meanwhile")
  func detachRetries() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let threads = (10..<14).map { process.thread($0) }
    for thread in threads { try thread.enter() }
    try threads[0].attach(map)
    process.kernel.fail { $0.call == .delete && $0.task == 11 ? EPERM : $0.call == .open && $0.task == 12 ? EMFILE : nil }
    let code = errno { () throws(Errno) in try threads[3].detach(map) }
    #expect(code == EPERM || code == EMFILE)
    for thread in [threads[0], threads[3]] { thread.expectAbsent(from: map) }
    for thread in [threads[1], threads[2]] { thread.expectPublished(in: map) }
    process.expectSound()
    try threads[0].enter()
    threads[0].expectAbsent(from: map)
    process.kernel.failNoMore()
    try threads[3].detach(map)
    for thread in threads { thread.expectAbsent(from: map) }
    #expect(process.servedMaps.isEmpty)
    process.expectSound()
  }

  @Test("what is left of a detaching can be finished later, but for threads that passed the map since")
  func finishDetaching() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let threads = (10..<13).map { process.thread($0) }
    for thread in threads { try thread.enter() }
    try threads[0].attach(map, for: .follower(0))
    #expect(process.registry.finishDetaching() == nil)
    for thread in threads { thread.expectPublished(in: map) }
    process.kernel.fail { $0.call == .delete && $0.task != 10 ? EPERM : nil }
    threads[0].detach(for: .follower(0))
    #expect(process.registry.finishDetaching() == Errno(EPERM))
    threads[0].expectAbsent(from: map)
    threads[1].expectPublished(in: map)
    try threads[2].enter(map)
    process.kernel.failNoMore()
    #expect(process.registry.finishDetaching() == nil)
    threads[1].expectAbsent(from: map)
    threads[2].expectPublished(in: map)
    #expect(threads[2].fastPath(map, 0) == threads[2].base)
    process.expectSound()
    process.kernel.fail { $0.call == .delete ? EPERM : nil }
    #expect(errno { () throws(Errno) in try threads[0].detach(map) } == EPERM)
    try threads[0].attach(map)
    process.kernel.failNoMore()
    #expect(process.registry.finishDetaching() == nil)
    for thread in threads { thread.expectPublished(in: map) }
    process.expectSound()
  }

  // MARK: Who wants it

  @Test("a map stays attached while the caller or any follower wants it, and a detach ends it for all")
  func keepers() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let id = process.kernel.id(of: map)
    let thread = process.thread(10)
    try thread.enter()
    let keepers = [Keepers.caller] + (0..<8).map { Keepers.follower($0) }
    #expect(Set(keepers.map(\.bits)).count == 9 && keepers.allSatisfy { $0.bits.nonzeroBitCount == 1 })
    for round in 0..<9 {
      let order = Array(keepers[round...] + keepers[..<round])
      for keeper in order { try thread.attach(map, for: keeper) }
      for (i, keeper) in order.enumerated() {
        thread.expectPublished(in: map)
        #expect(process.registry.isAttached(id, for: keeper))
        thread.detach(for: keeper, except: id)
        #expect(process.registry.isAttached(id, for: keeper))
        thread.detach(for: keeper)
        thread.detach(for: keeper)
        #expect(!process.registry.isAttached(id, for: keeper))
        #expect(order[(i + 1)...].allSatisfy { process.registry.isAttached(id, for: $0) })
      }
      thread.expectAbsent(from: map)
      #expect(process.servedMaps.isEmpty)
    }
    for keeper in keepers { try thread.attach(map, for: keeper) }
    try thread.detach(map)
    #expect(keepers.allSatisfy { !process.registry.isAttached(id, for: $0) })
    thread.expectAbsent(from: map)
    process.expectSound()
  }

  @Test("a follower that takes to another map leaves all it had, but that one and what others keep")
  func takesToAnother() throws {
    let process = ModelProcess()
    let maps = (0..<4).map { _ in process.kernel.makeMap(valueSize: 24) }
    let thread = process.thread(10)
    try thread.enter()
    for map in maps { try thread.attach(map, for: .follower(2)) }
    try thread.attach(maps[3])
    thread.detach(for: .follower(2), except: process.kernel.id(of: maps[1]))
    thread.expectPublished(in: maps[1], maps[3])
    thread.expectAbsent(from: maps[0], maps[2])
    #expect(process.servedMaps.count == 2 && process.registry.isAttached(process.kernel.id(of: maps[1]), for: .follower(2)))
    process.expectSound()
    thread.detach(for: .follower(2))
    thread.expectAbsent(from: maps[1])
    thread.expectPublished(in: maps[3])
    process.expectSound()
  }

  @Test("a keeper that never had the map detaches nobody's")
  func strangeKeeper() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let id = process.kernel.id(of: map)
    let thread = process.thread(10)
    try thread.enter()
    try thread.attach(map)
    thread.detach(for: .follower(3))
    thread.detach(for: .follower(4), except: id)
    thread.expectPublished(in: map)
    try thread.detach(map)
    try thread.enter(map)
    thread.detach(for: .follower(3))
    thread.detach(for: .caller)
    thread.expectPublished(in: map)
    #expect(!process.registry.isAttached(0, for: .caller) && !process.registry.isAttached(id + 7, for: .caller))
    process.expectSound()
  }

  @Test("detaching a map that threads passed themselves as well withdraws these too; freeing only the thread")
  func attachedAndPassed() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let passing = process.thread(10)
    let other = process.thread(11)
    try passing.enter(map)
    try other.enter()
    other.expectAbsent(from: map)
    try other.attach(map)
    other.expectPublished(in: map)
    passing.withdrawAndClear()
    passing.expectAbsent(from: map)
    other.expectPublished(in: map)
    try passing.enter(map)
    try other.detach(map)
    passing.expectAbsent(from: map)
    other.expectAbsent(from: map)
    #expect(passing.fastPath(map, 0) == nil && process.servedMaps.isEmpty)
    process.expectSound()
  }

  // MARK: A full table

  @Test("a ninth map is ENOSPC while eight are attached, for whoever asks, and nothing is disturbed")
  func full() throws {
    let process = ModelProcess()
    let maps = (0..<9).map { _ in process.kernel.makeMap(valueSize: 24) }
    let thread = process.thread(10)
    try thread.enter()
    for (i, map) in maps[..<8].enumerated() { try thread.attach(map, for: i % 2 == 0 ? .caller : .follower(i)) }
    for caller in [thread, process.thread(11)] {
      #expect(errno { () throws(Errno) in try caller.attach(maps[8]) } == ENOSPC)
      #expect(errno { () throws(Errno) in try caller.enter(maps[8]) } == ENOSPC)
      for map in maps[..<8] { thread.expectPublished(in: map) }
      thread.expectAbsent(from: maps[8])
    }
    #expect(process.servedMaps.count == 8 && process.records.count == 1)
    process.expectSound()
    try thread.detach(maps[5])
    #expect(try thread.attach(maps[8]) == nil)
    thread.expectPublished(in: maps[8])
    thread.expectAbsent(from: maps[5])
    process.expectSound()
  }

  @Test("in a full table the oldest map that nobody attached gives way, never an attached one")
  func attachedStays() throws {
    let process = ModelProcess()
    let maps = (0..<8).map { _ in process.kernel.makeMap(valueSize: 24) }
    let thread = process.thread(10)
    // 0, 2, 4, 6 attached; the others passed.
    for (i, map) in maps.enumerated() {
      if i % 2 == 0 { try thread.attach(map) } else { try thread.enter(map) }
    }
    try thread.enter()
    var passed = [1, 3, 5, 7].map { maps[$0] }
    for round in 0..<12 {
      let new = process.kernel.makeMap(valueSize: 24)
      if round % 3 == 2 && passed.count > 1 {
        try thread.attach(new)
        thread.expectPublished(in: new)
        thread.expectAbsent(from: passed.removeFirst())
      } else {
        try thread.enter(new)
        thread.expectAbsent(from: passed.removeFirst())
        passed.append(new)
      }
      for map in passed { thread.expectPublished(in: map) }
      for i in [0, 2, 4, 6] { thread.expectPublished(in: maps[i]) }
      #expect(process.servedMaps.count == 8)
      process.expectSound()
    }
  }

  @Test("a map that was passed before it was attached does not give way either")
  func passedThenAttached() throws {
    let process = ModelProcess()
    let maps = (0..<9).map { _ in process.kernel.makeMap(valueSize: 24) }
    let thread = process.thread(10)
    for map in maps[..<8] { try thread.enter(map) }
    try thread.attach(maps[0])
    try thread.enter(maps[8])
    thread.expectPublished(in: maps[0], maps[8])
    thread.expectAbsent(from: maps[1])
    process.expectSound()
  }

  @Test("a thousand maps attached and detached cost nothing")
  func thousandMaps() throws {
    let process = ModelProcess()
    let threads = (10..<13).map { process.thread($0) }
    for thread in threads { try thread.enter() }
    let pages = process.usedPages
    for round in 0..<1000 {
      let map = process.kernel.makeMap(valueSize: [16, 24, 48][round % 3])
      let id = process.kernel.id(of: map)
      #expect(try threads[round % 3].attach(map) == nil)
      process.kernel.closeProgrammes(map)
      #expect(threads.allSatisfy { $0.unpublished(in: id) == nil })
      try process.registry.detach(id)
      #expect(!process.kernel.exists(map: id))
    }
    #expect(process.usedPages == pages && process.kernel.heldMaps.isEmpty && process.kernel.elementCount == 0)
    process.expectSound()
  }

  // MARK: Threads that are gone

  @Test("threads that vanished are no failure of attaching, and their memory serves others")
  func vanished() throws {
    let process = ModelProcess(budget: 3000)
    let map = process.kernel.makeMap(valueSize: 24)
    let threads = (10..<20).map { process.thread($0) }
    for thread in threads { try thread.enter() }
    for thread in threads[2..<7] { thread.vanish() }
    #expect(try threads[0].attach(map) == nil)
    #expect(process.records.count == 5 && process.usedPages == 5)
    for thread in threads[..<2] + threads[7...] { thread.expectPublished(in: map) }
    process.expectSound()
  }

  @Test("a vanished thread's id that a stranger has is never written to, by attaching nor detaching",
        arguments: [false, true])
  func strangersID(wasPublished: Bool) throws {
    let process = ModelProcess()
    let maps = [24, 24].map { process.kernel.makeMap(valueSize: $0) }
    let gone = process.thread(10)
    let thread = process.thread(11)
    for each in [gone, thread] { try each.enter() }
    if wasPublished { try thread.attach(maps[1]) }
    gone.vanish()
    process.kernel.beginStranger(10)
    let theirs = (0..<24).map { UInt8($0) }
    for map in maps { process.kernel.putForeign(theirs, in: map, for: 10) }
    if wasPublished { try thread.detach(maps[1]) }
    #expect(try thread.attach(maps[0]) == nil, "a thread that ended is no failure")
    #expect(process.records.count == (wasPublished ? process.records.count : 1))
    if !wasPublished { try? thread.detach(maps[1]) }
    try thread.detach(maps[0])
    for map in maps { #expect(process.kernel.element(process.kernel.id(of: map), 10)?.bytes == theirs) }
    process.expectSound()
  }

  @Test("a vanished thread's id that a new thread of the process has is not given the old one's bytes",
        arguments: [false, true])
  func newThreadsID(newIsRegistered: Bool) throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let gone = process.thread(10)
    let thread = process.thread(11)
    for each in [gone, thread] {
      try each.enter()
      each.write(UInt64(each.task))
    }
    gone.vanish()
    let next = process.thread(10)
    if newIsRegistered {
      try next.enter()
      next.write(1010)
    }
    #expect(try thread.attach(map) == nil)
    thread.expectPublished(in: map)
    if newIsRegistered { next.expectPublished(in: map) } else { next.expectAbsent(from: map) }
    #expect(process.records.count == (newIsRegistered ? 2 : 1))
    process.expectSound()
    try next.enter()
    next.expectPublished(in: map)
    process.expectSound()
  }

  @Test("of a thread that vanished while published, a new one with its id loses nothing when the map is detached")
  func newThreadsElement() throws {
    let process = ModelProcess()
    let maps = [24, 24].map { process.kernel.makeMap(valueSize: $0) }
    let gone = process.thread(10)
    try gone.enter(maps[0])
    try gone.enter(maps[1])
    gone.vanish()
    let next = process.thread(10)
    try next.enter(maps[1])
    next.write(1010)
    try process.thread(11).detach(maps[0])
    next.expectPublished(in: maps[1])
    process.expectSound()
  }

  @Test("a thread that ends between its descriptor's opening and its publishing is no failure either",
        arguments: [ModelKernel.Call.open, .life, .update])
  func endsMeanwhile(at call: ModelKernel.Call) throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let threads = (10..<13).map { process.thread($0) }
    for thread in threads { try thread.enter() }
    // The map is known, so that no trial comes first.
    try threads[0].enter(map)
    var calls = 0
    process.kernel.interrupt { now in
      guard now == call else { return }
      calls += 1
      if calls == 2 { threads[1].vanish() }
    }
    #expect(try threads[0].attach(map) == nil)
    process.kernel.interruptNoMore()
    #expect(process.kernel.life(11) == nil, "the thread is still there")
    threads[0].expectPublished(in: map)
    threads[2].expectPublished(in: map)
    process.expectSound()
  }

  // MARK: What fails

  @Test("a packed block cannot be described to a v1 map that comes later: EXDEV, attached all the same, new threads work")
  func packedAndV1() throws {
    let process = ModelProcess()
    let v2 = process.kernel.makeMap(valueSize: 24)
    let v1 = process.kernel.makeMap(valueSize: 16)
    let packed = (10..<12).map { process.thread($0) }
    try packed[0].attach(v2)
    for thread in packed { try thread.enter() }
    #expect(packed.allSatisfy { !$0.block.isUniversal })
    for _ in 0..<2 { #expect(try packed[1].attach(v1) == EXDEV) }
    let late = process.thread(20)
    try late.enter()
    late.expectPublished(in: v1, v2)
    for thread in packed {
      thread.expectAbsent(from: v1)
      thread.expectPublished(in: v2)
      #expect(thread.fastPath(0) == thread.base)
      #expect(try thread.publish() == (false, EXDEV))
      #expect(thread.fastPath(0) == thread.base, "it can never be complete: no reason to try each time")
    }
    #expect(try late.publish() == (false, nil))
    process.expectSound()
    for thread in packed { thread.exit() }
    #expect(try late.attach(v1) == nil)
    process.expectSound()
  }

  @Test("a thread that vanished is no failure either where its block could not be described")
  func vanishedAndUnfit() throws {
    let process = ModelProcess()
    let v1 = process.kernel.makeMap(valueSize: 16)
    let gone = process.thread(10)
    let thread = process.thread(11)
    try gone.enter(process.kernel.makeMap(valueSize: 24))
    gone.vanish()
    #expect(try thread.attach(v1) == nil)
    process.expectSound()
  }

  @Test("a thread that was never identified is not taken for the next one with its id, whatever is attached")
  func unidentifiedAndReplaced() throws {
    let process = ModelProcess()
    let v2 = process.kernel.makeMap(valueSize: 24)
    let v1 = process.kernel.makeMap(valueSize: 16)
    let gone = process.thread(10)
    let thread = process.thread(11)
    try thread.attach(v2)
    process.kernel.fail { $0.call == .open ? EMFILE : nil }
    try gone.enter()
    process.kernel.failNoMore()
    gone.vanish()
    let next = process.thread(10)
    for map in [v1, v2] { try thread.attach(map) }
    next.expectAbsent(from: v1, v2)
    try thread.detach(v1)
    try thread.attach(v2)
    next.expectAbsent(from: v2)
    #expect(process.kernel.rulesBroken.isEmpty)
    try next.enter()
    next.expectPublished(in: v2)
    process.expectSound()
  }

  @Test("before any map is known blocks are such as every map can describe")
  func universalAtFirst() throws {
    let process = ModelProcess()
    let threads = (10..<13).map { process.thread($0) }
    for thread in threads { try thread.enter() }
    #expect(threads.allSatisfy { $0.block.isUniversal } && Set(threads.map(\.block.pageAddress)).count == 3)
    for valueSize in [16, 24, 64] {
      let map = process.kernel.makeMap(valueSize: valueSize)
      #expect(try threads[0].attach(map) == nil)
      for thread in threads { thread.expectPublished(in: map) }
    }
    process.expectSound()
  }

  @Test("one thread's failure is reported and keeps no other from being published; attaching again tries what is missing",
        arguments: [EMFILE, ENFILE, ENOMEM, EPERM, ENOSYS, EAGAIN], [ModelKernel.Call.open, .life, .update])
  func failureOfOne(code: Int32, call: ModelKernel.Call) throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let threads = (10..<15).map { process.thread($0) }
    for thread in threads { try thread.enter() }
    process.kernel.fail { $0.call == call && $0.task == 12 ? code : nil }
    for _ in 0..<2 {
      #expect(try threads[0].attach(map) == code)
      for thread in threads where thread.task != 12 { thread.expectPublished(in: map) }
      threads[2].expectAbsent(from: map)
      process.expectSound()
    }
    process.kernel.failNoMore()
    let updates = process.kernel.count(.update)
    #expect(try threads[0].attach(map) == nil)
    #expect(process.kernel.count(.update) == updates + 1, "others were published anew")
    for thread in threads { thread.expectPublished(in: map) }
    process.expectSound()
  }

  @Test("a map that cannot be confirmed is not attached, and can be once the kernel is willing",
        arguments: [EMFILE, ENFILE, ENOMEM, EPERM, ENOSYS, EAGAIN], ModelKernel.Call.allCases)
  func unconfirmed(code: Int32, call: ModelKernel.Call) throws {
    if call == .delete || call == .life { return }  // none is needed
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let thread = process.thread(10)
    try thread.enter()
    process.kernel.fail { $0.call == call ? code : nil }
    #expect(errno { () throws(Errno) in try thread.attach(map) } == code)
    #expect(process.servedMaps.isEmpty)
    thread.expectAbsent(from: map)
    process.expectSound()
    process.kernel.failNoMore()
    #expect(try thread.attach(map) == nil)
    thread.expectPublished(in: map)
    process.expectSound()
  }

  @Test("what fails in an attached map keeps no thread from storing, and is tried at each call until it is done",
        arguments: [EMFILE, ENFILE, ENOMEM, EPERM, ENOSYS, EAGAIN], [ModelKernel.Call.open, .life, .update])
  func incomplete(code: Int32, call: ModelKernel.Call) throws {
    let process = ModelProcess()
    let maps = [24, 32].map { process.kernel.makeMap(valueSize: $0) }
    let thread = process.thread(10)
    for map in maps { try thread.attach(map) }
    let bad = process.kernel.id(of: maps[1])
    process.kernel.fail { $0.call == call && (call != .update || $0.map == bad) ? code : nil }
    #expect(try thread.enter())
    let base = thread.base
    thread.write(10)
    for _ in 0..<3 {
      #expect(thread.fastPath(0) == nil, "the next call would not try again")
      #expect(try !thread.enter())
      #expect(thread.base == base && thread.word == 10)
      #expect(try thread.publish() == (false, code))
      thread.expectAbsent(from: maps[1])
      if call == .update { thread.expectPublished(in: maps[0]) }
      process.expectSound()
    }
    process.kernel.failNoMore()
    try thread.enter()
    #expect(thread.fastPath(0) == base)
    thread.expectPublished(in: maps[0], maps[1])
    process.expectSound()
  }

  @Test("a thread's own map serves it while an attached one fails, which is tried at the next call")
  func ownMapAndIncomplete() throws {
    let process = ModelProcess()
    let maps = [24, 32].map { process.kernel.makeMap(valueSize: $0) }
    let thread = process.thread(10)
    try process.thread(11).attach(maps[0])
    let bad = process.kernel.id(of: maps[0])
    process.kernel.fail { $0.call == .update && $0.map == bad ? EPERM : nil }
    #expect(try thread.enter(maps[1]))
    thread.expectPublished(in: maps[1])
    #expect(thread.fastPath(maps[1], 0) == nil && thread.fastPath(0) == nil)
    process.kernel.failNoMore()
    try thread.enter(maps[1])
    thread.expectPublished(in: maps[0], maps[1])
    #expect(thread.fastPath(maps[1], 0) == thread.base)
    process.expectSound()
  }

  @Test("a thread that could not be identified when it came is published later: once the fault is gone, an attach succeeds after its next call",
        arguments: [EMFILE, ENFILE, ENOMEM])
  func unidentified(code: Int32) throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let thread = process.thread(10)
    let other = process.thread(11)
    process.kernel.fail { $0.call == .open ? code : nil }
    try thread.enter()
    process.kernel.failNoMore()
    #expect(try other.attach(map) == EAGAIN, "its id may be another's by now")
    thread.expectAbsent(from: map)
    process.expectSound()
    // What a program does: nothing but tld_get().
    if thread.fastPath(0) == nil { try thread.enter() }
    #expect(try other.attach(map) == nil)
    thread.expectPublished(in: map)
    process.expectSound()
  }

  @Test("a thread that could not be identified and vanished is no failure of attaching",
        arguments: [false, true])
  func unidentifiedAndVanished(isStrangersByNow: Bool) throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let thread = process.thread(10)
    let other = process.thread(11)
    process.kernel.fail { $0.call == .open ? EMFILE : nil }
    try thread.enter()
    process.kernel.failNoMore()
    thread.vanish()
    if isStrangersByNow { process.kernel.beginStranger(10) }
    #expect(try other.attach(map) == nil)
    process.expectSound()
  }

  @Test("where the kernel knows no threads' descriptors at all TLDs can be used, by the fast path",
        arguments: [EPERM, ENOSYS, EOPNOTSUPP])
  func noKernelSupport(code: Int32) throws {
    let process = ModelProcess()
    process.kernel.fail { $0.call == .open || $0.call == .update ? code : nil }
    let thread = process.thread(10)
    #expect(try thread.enter())
    #expect(thread.fastPath(0) == thread.base, "each call would ask the kernel again")
    thread.write(10)
    #expect(try thread.publish() == (false, nil))
    thread.exit()
    #expect(process.records.isEmpty && process.usedPages == 0)
    process.expectSound()
  }

  // MARK: tld_publish()

  @Test("publishing now needs a TLD, registers the thread, and repeats what the next use would do")
  func publish() throws {
    let process = ModelProcess()
    let thread = process.thread(10)
    #expect(try thread.publish() == (true, nil), "no map is no failure")
    #expect(thread.fastPath(0) == thread.base)
    let maps = [24, 32].map { process.kernel.makeMap(valueSize: $0) }
    try thread.attach(maps[0])
    try thread.enter(maps[1])
    thread.withdrawAndClear()
    #expect(try thread.publish() == (false, nil))
    thread.expectPublished(in: maps[0])
    thread.expectAbsent(from: maps[1])
    process.expectSound()
  }

  @Test("publishing gives the first error, and tries every map",
        arguments: [EPERM, ENOMEM, EAGAIN])
  func publishTriesAll(code: Int32) throws {
    let process = ModelProcess()
    let maps = (0..<5).map { _ in process.kernel.makeMap(valueSize: 24) }
    let thread = process.thread(10)
    for map in maps { try thread.attach(map) }
    let bad = [process.kernel.id(of: maps[1]), process.kernel.id(of: maps[3])]
    process.kernel.fail { $0.call != .update ? nil : $0.map == bad[0] ? code : $0.map == bad[1] ? EFAULT : nil }
    #expect(try thread.publish() == (true, code))
    thread.expectPublished(in: maps[0], maps[2], maps[4])
    thread.expectAbsent(from: maps[1], maps[3])
    process.kernel.failNoMore()
    #expect(try thread.publish() == (false, nil))
    for map in maps { thread.expectPublished(in: map) }
    process.expectSound()
  }

  @Test("while no TLD exists, publishing and references are EINVAL, though one was refused before", arguments: [false, true])
  func noTLD(afterRefusal: Bool) throws {
    let process = ModelProcess(withoutTLD: true)
    if afterRefusal { #expect(throws: Errno(E2BIG)) { try process.createKey("x", size: 100_000, budget: 64) } }
    let thread = process.thread(10)
    #expect(errno { () throws(Errno) in try thread.publish() } == EINVAL)
    #expect(errno { () throws(Errno) in try thread.reference(10) } == EINVAL)
    #expect(!thread.isRegistered && process.records.isEmpty)
    process.expectSound()
  }

  @Test("an idle map is let go when the last thread that had passed it is found gone, whoever finds it")
  func idleAfterVanishing() throws {
    let process = ModelProcess(budget: 3000)
    let map = process.kernel.makeMap(valueSize: 16)
    let gone = process.thread(10)
    try gone.enter(map)
    gone.vanish()
    for task in 11..<400 as Range<Int32> {
      try process.thread(task).enter()
      process.expectSound()
    }
    #expect(process.kernel.heldMaps.isEmpty && process.records.count == 389)
  }
}
