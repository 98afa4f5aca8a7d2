// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// What doctor looks at, one function each.

import TldctlKernel
import Glibc
import TldctlModel

extension Check {
  static func kernel() -> Check {
    let release = line(of: "/proc/sys/kernel/osrelease") ?? "unknown"
    return Check(name: "kernel", title: "kernel", verdict: .info, text: "Linux \(release)")
  }

  static func uptr() -> Check {
    func check(_ verdict: Verdict, _ text: String, _ advice: String = "") -> Check {
      Check(name: "uptr", title: "UPTR, memory shared with BPF", verdict: verdict, text: text, advice: advice, isEssential: true)
    }
    let error = ctldctl_try_uptr()
    switch -error {
    case 0: return check(.yes, "a map was made and published in")
    case EOPNOTSUPP: return check(.no, "the kernel takes the addresses for numbers", "Boot Linux 6.13 or newer.")
    case ENOSYS: return check(.no, "there is no bpf(2), or a sandbox hides it", "Run it outside of the sandbox, on a kernel with CONFIG_BPF_SYSCALL.")
    default: break
    }
    let isRefused = -error == EPERM || -error == EACCES
    switch ctldctl_kernel_has_uptr() {
    case 1 where isRefused: return check(.yes, "the kernel's types have it; may not be tried without CAP_BPF")
    case 1: return check(.no, "a map could not be made or published in: \(describe(errno: -error))", "Look at the other lines.")
    case 0: return check(.no, "the kernel's types do not have it", "Boot Linux 6.13 or newer.")
    default: return check(.unknown, "it may not be tried (\(describe(errno: -error)))", "Run this as root.")
    }
  }

  static func pidfdThread() -> Check {
    func check(_ verdict: Verdict, _ text: String, _ advice: String = "") -> Check {
      Check(name: "pidfd_thread", title: "PIDFD_THREAD, names for threads", verdict: verdict, text: text, advice: advice, isEssential: true)
    }
    let error = ctldctl_try_pidfd_thread()
    switch -error {
    case 0: return check(.yes, "pidfd_open(2) gives one")
    case EINVAL: return check(.no, "pidfd_open(2) does not know it", "Boot Linux 6.9 or newer; hints need 6.13.")
    default: return check(.no, "pidfd_open(2) is refused: \(describe(errno: -error))", "Run it outside of the sandbox.")
    }
  }

  static func btf() -> Check {
    let isThere = access("/sys/kernel/btf/vmlinux", R_OK) == 0
    return Check(
      name: "btf", title: "BTF, the kernel's types", verdict: isThere ? .yes : .no,
      text: isThere ? "/sys/kernel/btf/vmlinux" : "/sys/kernel/btf/vmlinux cannot be read: \(describe(errno: errno))",
      advice: isThere ? "" : "Mount sysfs, or boot a kernel that is built with CONFIG_DEBUG_INFO_BTF.", isEssential: true)
  }

  static func program() -> Check {
    func check(_ verdict: Verdict, _ text: String, _ advice: String = "") -> Check {
      Check(name: "program", title: "loading BPF programs", verdict: verdict, text: text, advice: advice)
    }
    let error = ctldctl_try_program()
    switch -error {
    case 0: return check(.yes, "one that reads task storage was loaded")
    case EPERM, EACCES:
      return geteuid() == 0
        ? check(.no, "refused even to root: \(describe(errno: -error))", "Run it outside of the container or sandbox; a kernel that is locked down refuses it, too.")
        : check(.info, "not for this user, who can publish nevertheless", "The scheduler or tracer needs root, or CAP_BPF and CAP_PERFMON.")
    default: return check(.no, "refused: \(describe(errno: -error))", "With TLDCTL_DEBUG=1, 'tldctl list' shows libbpf's words.")
    }
  }

  static func bpffs() -> Check {
    func check(_ verdict: Verdict, _ text: String, _ advice: String = "") -> Check {
      Check(name: "bpffs", title: "BPF file system", verdict: verdict, text: text, advice: advice)
    }
    let mounts = bpfMounts()
    guard let mount = mounts.first(where: { $0.path == Array("/sys/fs/bpf".utf8) }) ?? mounts.first else {
      return check(.no, "none is mounted, so that no map can be found by its name", "mount -t bpf -o mode=0755 bpf /sys/fs/bpf")
    }
    guard let status = status(of: mount.path) else { return check(.unknown, "\(escaped(mount.path)) cannot be looked at") }
    let text = "\(escaped(mount.path)), mode \(octal(status.st_mode))"
    if status.st_mode & 0o001 == 0 {
      return check(.yes, text + ": only root reaches what is pinned", "For others to publish: mount -o remount,mode=0755 \(escaped(mount.path))")
    }
    if status.st_mode & 0o002 != 0 {
      return check(.yes, text + ": all may make names there", "Pin in a directory of its own that root owns: 'tldctl map create' does.")
    }
    return check(.yes, text)
  }

  static func unprivileged() -> Check {
    let value = line(of: "/proc/sys/kernel/unprivileged_bpf_disabled")
    let meaning = switch value {
    case "0": "all may use bpf(2)"
    case "1", "2": "bpf(2) needs CAP_BPF, but publishing in a map that one may open does not"
    default: "the kernel does not say"
    }
    return Check(
      name: "unprivileged_bpf_disabled", title: "kernel.unprivileged_bpf_disabled", verdict: .info,
      text: "\(value ?? "unknown"): \(meaning)")
  }

  static func schedExt() -> Check {
    func check(_ verdict: Verdict, _ text: String) -> Check {
      Check(name: "sched_ext", title: "sched_ext, schedulers in BPF", verdict: verdict, text: text)
    }
    guard let state = line(of: "/sys/kernel/sched_ext/state") else {
      return check(.info, "the kernel is built without; tracers can use hints all the same")
    }
    guard state == "enabled" else { return check(.yes, "present, \(state)") }
    return check(.yes, "\(line(of: "/sys/kernel/sched_ext/root/ops") ?? "a scheduler") is running")
  }

  static func capabilities() -> Check {
    let effective = effectiveCapabilities()
    let wanted: [(String, UInt64)] = [("CAP_BPF", 39), ("CAP_PERFMON", 38), ("CAP_SYS_ADMIN", 21)]
    let has = wanted.filter { effective >> $0.1 & 1 == 1 }.map(\.0)
    return Check(
      name: "capabilities", title: "capabilities of this process", verdict: .info,
      text: has.isEmpty ? "none that matter: it can publish, not read" : has.joined(separator: ", "),
      advice: has.count == wanted.count ? "" : "tldctl's other commands need CAP_BPF and CAP_PERFMON, and CAP_SYS_ADMIN to find maps.")
  }

  private static func effectiveCapabilities() -> UInt64 {
    let status = contents(of: "/proc/self/status") ?? []
    let lines = status.split(separator: UInt8(ascii: "\n")).map { String(decoding: $0, as: UTF8.self) }
    let line = lines.first { $0.hasPrefix("CapEff:") }
    return line.flatMap { UInt64($0.dropFirst(7).filter { !$0.isWhitespace }, radix: 16) } ?? 0
  }

  static func seccomp() -> Check {
    let mode = procField("Seccomp", in: contents(of: "/proc/self/status") ?? []) ?? 0
    return Check(
      name: "seccomp", title: "seccomp", verdict: .info,
      text: mode == 0 ? "no filter" : "a filter is active, which may refuse bpf(2) or pidfd_open(2)",
      advice: mode == 0 ? "" : "Programs under such a filter need both to publish.")
  }

  static func pageSize() -> Check {
    let size = Int(sysconf(Int32(_SC_PAGESIZE)))
    return Check(
      name: "page_size", title: "page size", verdict: .info,
      text: "\(size): at most \(size / 64 - 1) TLDs in a process",
      advice: size == 4096 ? "" : "BPF objects must be compiled with -DTLD_BPF_PAGE_SIZE=\(size).")
  }

  static func memlock() -> Check {
    let bytes = ctldctl_memlock()
    let text = bytes == .max ? "unlimited" : "\(bytes / 1024) KiB"
    return Check(
      name: "memlock", title: "limit of locked memory", verdict: .info,
      text: "\(text); what is published does not count against it")
  }

  static func library() -> Check {
    func check(_ verdict: Verdict, _ text: String, _ advice: String = "") -> Check {
      Check(name: "library", title: "libtld", verdict: verdict, text: text, advice: advice)
    }
    var version: UnsafePointer<CChar>?, file: UnsafePointer<CChar>?
    guard ctldctl_library(&version, &file) == 0, let version, let file else {
      return check(.info, "libtld.so.1 is not found; programs may have it in them", "To install it: make install && ldconfig")
    }
    return check(.yes, "version \(escaped(String(cString: version))), \(escaped(String(cString: file)))")
  }
}
