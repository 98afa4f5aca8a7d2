// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause

import CTLD
import Testing

@testable import TLD

@Test("each component's state fits the memory that the library reserves for it")
func componentsFit() {
  #expect(CTLD_STATE_SIZE == 1024)
  #expect(MemoryLayout<KeyTable.State>.size <= 1024)
  #expect(MemoryLayout<ThreadRegistry<Linux>.State>.size <= 1024)
  #expect(MemoryLayout<FollowedPaths<Linux>.State>.size <= 1024)
  #expect(MemoryLayout<Watcher>.size <= 4096, "it has a page")
  #expect(MemoryLayout<Lifecycle.State>.size <= 1024)
  #expect(MemoryLayout<ThreadRegistry<Linux>.State>.alignment <= 64)
}

@Test("a thread's record, its block and what a page needs are as small as they can be")
func recordSizes() {
  #expect(MemoryLayout<ThreadRecord>.stride == 56)
  #expect(MemoryLayout<PageRecord>.stride * BlockArena.pagesPerChunk <= 4096)
}
