// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// References: to threads that have data, that will have some, and that are gone.

import CTLD
import Glibc
import Testing

@testable import TLD

extension UnsafeMutablePointer where Pointee == ThreadRecord {
  /// tld_ref_get() of the first TLD.
  fileprivate var data: UnsafeMutableRawPointer { pointee.block.data }
}

@Suite struct ThreadRegistryReferenceTests {
  // MARK: Threads that have data

  @Test("a reference leads to the thread's own data, and each is given back by itself")
  func registered() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let worker = process.thread(10)
    let dispatcher = process.thread(11)
    try worker.enter(map)
    worker.write(10)
    let refs = try (0..<3).map { _ in try dispatcher.reference(10) }
    #expect(refs.allSatisfy { $0.data == worker.base })
    let own = try worker.reference(10)
    #expect(own.data == worker.base)
    #expect(process.records.count == 1 && process.kernel.count(.update) == 3, "two trials, one publishing")
    for ref in refs + [own] { dispatcher.unreference(ref) }
    worker.expectPublished(in: map)
    #expect(worker.word == 10)
    worker.exit()
    #expect(process.records.isEmpty && process.usedPages == 0)
    process.expectSound()
  }

  @Test("no thread of this process is ESRCH: none at all, another process's, one that vanished, one whose id a stranger has")
  func noThread() throws {
    let process = ModelProcess()
    let thread = process.thread(10)
    let gone = process.thread(11)
    let replaced = process.thread(12)
    for each in [gone, replaced] { try each.enter() }
    gone.vanish()
    replaced.vanish()
    process.kernel.beginStranger(12)
    process.kernel.beginStranger(13)
    for id in [11, 12, 13, 99] as [Int32] {
      #expect(errno { () throws(Errno) in try thread.reference(id) } == ESRCH)
    }
    for id in [0, -1, .min] as [Int32] {
      #expect(errno { () throws(Errno) in try thread.reference(id) } == EINVAL)
    }
    #expect(process.records.count == 2)
    process.expectSound()
  }

  @Test("a thread that vanishes, and whose id a stranger has, while it is looked up is ESRCH",
        arguments: [ModelKernel.Call.open, .life])
  func vanishesMeanwhile(at call: ModelKernel.Call) throws {
    let process = ModelProcess()
    let target = process.thread(10)
    let thread = process.thread(11)
    process.kernel.interrupt { now in
      guard now == call, process.kernel.life(10) != nil else { return }
      target.vanish()
      process.kernel.beginStranger(10)
    }
    let code = errno { () throws(Errno) in try thread.reference(10) }
    process.kernel.interruptNoMore()
    // Gone only after it was seen to be there: it is the reference to a thread that ended.
    #expect(code == (call == .open ? ESRCH : nil))
    process.expectSound()
  }

  @Test("what the kernel refuses is thrown, and nothing is left behind",
        arguments: [EMFILE, ENFILE, ENOMEM, EPERM, ENOSYS, EOPNOTSUPP], [ModelKernel.Call.open, .life])
  func refused(code: Int32, call: ModelKernel.Call) throws {
    let process = ModelProcess()
    let target = process.thread(10)
    let thread = process.thread(11)
    process.kernel.fail { $0.call == call ? code : nil }
    #expect(errno { () throws(Errno) in try thread.reference(10) } == code)
    #expect(process.records.isEmpty)
    process.expectSound()
    process.kernel.failNoMore()
    let ref = try thread.reference(10)
    try target.enter()
    #expect(target.base == ref.data)
    process.expectSound()
  }

  // MARK: Threads that have none yet

  @Test("a thread without data gets some, published at once, and finds it by whichever call comes first",
        arguments: 0..<3)
  func unclaimed(call: Int) throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let own = process.kernel.makeMap(valueSize: 32)
    let worker = process.thread(10)
    let dispatcher = process.thread(11)
    let unattached = try dispatcher.reference(10)
    unattached.data.storeBytes(of: 7, as: UInt64.self)
    try dispatcher.attach(map)
    #expect(process.kernel.dataMaps(with: 10) == [process.kernel.id(of: map)])
    let another = try dispatcher.reference(10)
    #expect(another == unattached && !worker.isRegistered)
    process.expectSound()

    let updates = process.kernel.count(.update)
    switch call {
    case 0: #expect(try worker.enter(), "its destructor is not arranged for yet")
    case 1: #expect(try worker.enter(own))
    default: #expect(try worker.publish() == (true, nil))
    }
    #expect(worker.base == unattached.data && worker.word == 7)
    #expect(worker.fastPath(0) == worker.base)
    worker.expectPublished(in: map)
    #expect(process.kernel.count(.update) == updates + (call == 1 ? 3 : 0), "published again")
    #expect(process.records.count == 1)
    dispatcher.unreference(unattached)
    dispatcher.unreference(another)
    worker.expectPublished(in: map)
    worker.exit()
    #expect(process.records.isEmpty && process.usedPages == 0)
    process.expectSound()
  }

  @Test("data made through a reference after the map was attached are published before the reference is there")
  func publishedAtOnce() throws {
    let process = ModelProcess()
    let maps = [16, 24, 64].map { process.kernel.makeMap(valueSize: $0) }
    let worker = process.thread(10)
    let dispatcher = process.thread(11)
    for map in maps { try dispatcher.attach(map) }
    let ref = try dispatcher.reference(10)
    #expect(process.kernel.dataMaps(with: 10) == Set(maps.map { process.kernel.id(of: $0) }))
    ref.data.storeBytes(of: 7, as: UInt64.self)
    process.kernel.remember(7, of: 10)
    process.kernel.readEverything()
    try worker.enter()
    worker.expectPublished(in: maps[0], maps[1], maps[2])
    process.expectSound()
  }

  @Test("a thread's own call that is refused leaves its data to it, and to the reference, for the next one",
        arguments: [EMFILE, EPERM, EBADF, E2BIG, EXDEV])
  func claimGivenBack(code: Int32) throws {
    let process = ModelProcess()
    let v2 = process.kernel.makeMap(valueSize: 24)
    let v1 = process.kernel.makeMap(valueSize: 16)
    let worker = process.thread(10)
    let dispatcher = process.thread(11)
    try dispatcher.attach(v2)
    let ref = try dispatcher.reference(10)
    ref.data.storeBytes(of: 7, as: UInt64.self)
    let large = try process.createKey("large", size: 100, budget: 200)
    switch code {
    case EBADF: #expect(errno { () throws(Errno) in try worker.enter(FileDescriptor(number: 99)) } == code)
    case E2BIG:
      #expect(errno { () throws(Errno) in try worker.enter(large) } == code)
      #expect(errno { () throws(Errno) in try worker.enter(v2, large) } == code)
    case EXDEV: #expect(errno { () throws(Errno) in try worker.enter(v1) } == code)
    default:
      process.kernel.fail { $0.call == .duplicate ? code : nil }
      #expect(errno { () throws(Errno) in try worker.enter(process.kernel.makeMap(valueSize: 32)) } == code)
      process.kernel.failNoMore()
    }
    #expect(!worker.isRegistered)
    process.expectSound()
    #expect(try worker.enter())
    #expect(worker.base == ref.data && worker.word == 7)
    process.expectSound()
  }

  @Test("a thread that comes while its data wait is not given others when the kernel has no descriptor to tell by")
  func claimWithoutDescriptor() throws {
    let process = ModelProcess()
    let worker = process.thread(10)
    let dispatcher = process.thread(11)
    let ref = try dispatcher.reference(10)
    process.kernel.fail { $0.call == .open ? EMFILE : nil }
    #expect(errno { () throws(Errno) in try worker.enter() } == EAGAIN)
    #expect(!worker.isRegistered && process.records.count == 1)
    process.expectSound()
    process.kernel.failNoMore()
    try worker.enter()
    #expect(worker.base == ref.data)
    process.expectSound()
  }

  @Test("data that wait for one thread cost another nothing: it needs no descriptor",
        arguments: [EMFILE, EPERM, ENOSYS])
  func othersUnclaimed(code: Int32) throws {
    let process = ModelProcess()
    _ = process.thread(10)
    let dispatcher = process.thread(11)
    let bystander = process.thread(12)
    _ = try dispatcher.reference(10)
    process.kernel.fail { $0.call == .open ? code : nil }
    #expect(throws: Never.self) { try bystander.enter() }
    #expect(bystander.isRegistered)
    process.expectSound()
  }

  @Test("a thread whose id belonged to one that was never identified is not kept from its data by that")
  func claimBesideUnidentified() throws {
    let process = ModelProcess()
    let gone = process.thread(10)
    process.kernel.fail { $0.call == .open ? EMFILE : nil }
    try gone.enter()
    process.kernel.failNoMore()
    gone.vanish()
    let dispatcher = process.thread(11)
    _ = process.thread(12)
    _ = try dispatcher.reference(12)  // somebody's data wait
    let next = process.thread(10)
    #expect(throws: Never.self) { try next.enter() }
    #expect(next.isRegistered)
    process.expectSound()
  }

  @Test("the next thread with the id of one that vanished before it came for its data gets data of its own",
        arguments: [false, true])
  func unclaimedAndVanished(attached: Bool) throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    _ = process.thread(10)
    let dispatcher = process.thread(11)
    if attached { try dispatcher.attach(map) }
    let ref = try dispatcher.reference(10)
    ref.data.storeBytes(of: 7, as: UInt64.self)
    process.kernel.end(10)
    let next = process.thread(10)
    #expect(try next.enter())
    next.write(1010)
    #expect(next.base != ref.data && ref.data.word(at: 0, as: UInt64.self) == 7)
    let nexts = try dispatcher.reference(10)
    #expect(nexts.data == next.base)
    if !attached { #expect(try dispatcher.attach(map) == nil) }
    next.expectPublished(in: map)
    dispatcher.unreference(ref)
    #expect(next.word == 1010)
    dispatcher.unreference(nexts)
    process.expectSound()
  }

  @Test("data that waited for a thread that vanished serve others once the reference is given back")
  func unclaimedMemory() throws {
    let process = ModelProcess(budget: 3000)
    let dispatcher = process.thread(9)
    for task in 10..<1010 as Range<Int32> {
      _ = process.thread(task)
      dispatcher.unreference(try dispatcher.reference(task))
      process.kernel.end(task)
    }
    #expect(process.pages < 256, "\(process.pages) pages for one thread")
    process.expectSound()
  }

  @Test("a dispatcher that refers to many threads keeps its own data")
  func dispatchersOwnData() throws {
    let process = ModelProcess(budget: 3000)
    let map = process.kernel.makeMap(valueSize: 24)
    let dispatcher = process.thread(9)
    try dispatcher.attach(map)
    try dispatcher.enter()
    dispatcher.write(9)
    for task in 10..<400 as Range<Int32> {
      _ = process.thread(task)
      let ref = try dispatcher.reference(task)
      #expect(ref.data != dispatcher.base, "somebody else was given its data")
      ref.data.storeBytes(of: UInt64(task), as: UInt64.self)
      dispatcher.expectPublished(in: map)
      #expect(dispatcher.word == 9)
      process.expectSound()
    }
  }

  // MARK: Threads that ended

  @Test("an ended thread's data stay while a reference is there, and BPF sees nothing of them",
        arguments: [false, true])
  func ended(byVanishing: Bool) throws {
    let process = ModelProcess(budget: 3000)
    let map = process.kernel.makeMap(valueSize: 24)
    let worker = process.thread(10)
    let dispatcher = process.thread(11)
    try dispatcher.attach(map)
    try worker.enter()
    worker.write(10)
    let refs = try [dispatcher.reference(10), dispatcher.reference(10)]
    if byVanishing { worker.vanish() } else { worker.exit() }
    #expect(process.kernel.elementCount == 0)
    #expect(errno { () throws(Errno) in try dispatcher.reference(10) } == ESRCH)
    // Others come and go, and everything is looked through.
    for task in 20..<300 as Range<Int32> {
      let thread = process.thread(task)
      try thread.enter()
      #expect(thread.base != refs[0].data)
      thread.write(UInt64(task))
      if task % 2 == 0 { thread.exit() }
    }
    refs[0].data.storeBytes(of: 11, as: UInt64.self)
    let page = refs[0].pointee.block.pageAddress
    dispatcher.unreference(refs[0])
    #expect(refs[1].data.word(at: 0, as: UInt64.self) == 11)
    process.expectSound()
    dispatcher.unreference(refs[1])
    if !byVanishing { #expect(!process.records.contains { $0.block.pageAddress == page }, "its memory is lost") }
    process.expectSound()
  }

  @Test("a reference given back frees at once what only it kept")
  func freedByUnreference() throws {
    let process = ModelProcess(budget: 3000)
    let worker = process.thread(10)
    let dispatcher = process.thread(11)
    try worker.enter()
    let ref = try dispatcher.reference(10)
    worker.exit()
    #expect(process.records.count == 1 && process.usedPages == 1)
    process.expectSound()
    dispatcher.unreference(ref)
    #expect(process.records.isEmpty && process.usedPages == 0)
    process.expectSound()
  }

  @Test("an ended thread whose element could not be removed is kept for both reasons, whichever ends first",
        arguments: [false, true])
  func endedAndStuck(referenceFirst: Bool) throws {
    let process = ModelProcess(budget: 3000)
    let map = process.kernel.makeMap(valueSize: 24)
    let worker = process.thread(10)
    let dispatcher = process.thread(11)
    try dispatcher.attach(map)
    try worker.enter()
    worker.write(10)
    let ref = try dispatcher.reference(10)
    process.kernel.fail { $0.call == .delete ? EPERM : nil }
    worker.leave()
    process.kernel.failNoMore()
    if referenceFirst { dispatcher.unreference(ref) } else { try dispatcher.detach(map) }
    #expect(process.records.count == 1 && process.usedPages == 1)
    process.expectSound()
    if referenceFirst { try dispatcher.detach(map) } else { dispatcher.unreference(ref) }
    #expect(process.records.isEmpty && process.usedPages == 0)
    process.expectSound()
  }

  @Test("a thread that freed its data, or comes back in a later destructor, is found again")
  func freedAndBack() throws {
    let process = ModelProcess()
    let map = process.kernel.makeMap(valueSize: 24)
    let worker = process.thread(10)
    let dispatcher = process.thread(11)
    try dispatcher.attach(map)
    try worker.enter()
    worker.withdrawAndClear()
    let ref = try dispatcher.reference(10)
    #expect(ref.data == worker.base)
    worker.expectAbsent(from: map)
    worker.leave()
    try worker.enter()
    #expect(worker.base != ref.data)
    let again = try dispatcher.reference(10)
    #expect(again.data == worker.base)
    worker.write(10)
    dispatcher.unreference(ref)
    dispatcher.unreference(again)
    #expect(worker.word == 10 && process.records.count == 1)
    process.expectSound()
  }

  // MARK: Fork

  @Test("in a forked child the references stay valid, to the thread that lives and to those that do not",
        arguments: [false, true])
  func fork(isUnprepared: Bool) throws {
    let process = ModelProcess(budget: 3000)
    let map = process.kernel.makeMap(valueSize: 24)
    let forking = process.thread(10)
    let other = process.thread(11)
    _ = process.thread(12)
    try forking.attach(map)
    for thread in [forking, other] {
      try thread.enter()
      thread.write(UInt64(thread.task))
    }
    let own = try forking.reference(10)
    let others = try forking.reference(11)
    let unclaimed = try forking.reference(12)
    unclaimed.data.storeBytes(of: 12, as: UInt64.self)
    if !isUnprepared { process.registry.lockForFork() }
    let child = process.fork(forking, childTask: 50)
    if isUnprepared { process.registry.resetInUnpreparedChild(child.calling) } else { process.registry.resetInChild(child.calling) }
    process.expectSound()
    #expect(process.records.count == 3)
    for (ref, word) in [(own, 10), (others, 11), (unclaimed, 12)] as [(Record, UInt64)] {
      #expect(ref.data.word(at: 0, as: UInt64.self) == word)
    }
    #expect(try child.reference(50).data == own.data)
    // An id that was a thread's of the parent is a new thread's of the child.
    try child.enter()
    child.write(10)
    let crowd = (100..<300).map { process.thread($0) }
    for thread in crowd {
      try thread.enter()
      thread.write(UInt64(thread.task))
    }
    #expect(others.data.word(at: 0, as: UInt64.self) == 11 && unclaimed.data.word(at: 0, as: UInt64.self) == 12)
    for ref in [own, own, others, unclaimed] { child.unreference(ref) }
    for thread in crowd { thread.exit() }
    child.expectPublished(in: map)
    child.exit()
    #expect(process.records.isEmpty && process.usedPages == 0, "what only the references kept is lost")
    process.expectSound()
  }
}
