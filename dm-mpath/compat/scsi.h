/* SPDX-License-Identifier: GPL-2.0 */
/* How a SCSI command that reads is sent, which differs between kernels. */
#ifndef DM_MPATH_COMPAT_SCSI_H
#define DM_MPATH_COMPAT_SCSI_H

#include <scsi/scsi_device.h>

/* 0: well; else as the kernel's own function tells it, with the sense if there is one. */
static inline int compat_scsi_read(struct scsi_device *sdev, const u8 *cdb, void *buffer,
				   unsigned int bytes, struct scsi_sense_hdr *sense, int timeout)
{
#ifdef scsi_execute /* until 6.2 */
	return scsi_execute_req(sdev, cdb, DMA_FROM_DEVICE, buffer, bytes, sense, timeout, 0, NULL);
#else
	const struct scsi_exec_args args = { .sshdr = sense };

	return scsi_execute_cmd(sdev, cdb, REQ_OP_DRV_IN, buffer, bytes, timeout, 0, &args);
#endif
}

#endif
