// SPDX-License-Identifier: GPL-2.0-or-later
// The control API: libqb IPC, each way one libqb header and one JSON text.
//
// Requests: {"api":1,"request":"status"|"map"|"dump"|"fenced", ...}. Answers: {"ok":true, ...} or {"ok":false,"error":"..."}.
#pragma once

#include <cstdint>

namespace proto::control {

inline constexpr char kService[] = "clogd";
inline constexpr int32_t kApi = 1;
inline constexpr int32_t kMessageId = 1;
inline constexpr uint32_t kMaxRequestBytes = 64 << 10;
inline constexpr uint32_t kMaxAnswerBytes = 4 << 20;
inline constexpr uint32_t kMaxRanges = 20000;  // of one set, in an answer to "map"

}  // namespace proto::control
