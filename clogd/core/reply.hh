// SPDX-License-Identifier: GPL-2.0-or-later
// The answer to a request of the kernel's, yet without an error or data.
#pragma once

#include "proto/ulog.hh"

namespace clogd {

inline proto::ulog::Reply reply_to(const proto::ulog::Call& call) {
    proto::ulog::Reply r;
    r.luid = call.luid;
    r.uuid = call.uuid;
    r.version = call.version;
    r.seq = call.seq;
    r.type = call.type;
    return r;
}

}  // namespace clogd
