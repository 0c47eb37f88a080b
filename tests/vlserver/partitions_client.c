/*
 * Calls each RPC of partitions.xg at a VL server, built from what rxgen makes of it, and prints each reply as lines of
 * name=value, for a test to compare.
 *
 * usage: partitions_client HOST PORT SERVER-UUID OTHER-UUID PARTITION-UUID VOLUME
 */
#include <afs/param.h>
#include <afs/stds.h>
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <rx/rx.h>
#include <rx/rx_null.h>
#include "partitions.h"

#define VL_SERVICE 52

static struct rx_connection *vl;
static afsUUID nil;

static afsUUID
parsed(const char *text)
{
    afsUUID uuid;
    unsigned int low, mid, high, clock_high, clock_low, node[6];
    int i;

    if (sscanf(text, "%8x-%4x-%4x-%2x%2x-%2x%2x%2x%2x%2x%2x", &low, &mid, &high, &clock_high, &clock_low,
	       &node[0], &node[1], &node[2], &node[3], &node[4], &node[5]) != 11)
	exit(2);
    uuid.time_low = low;
    uuid.time_mid = mid;
    uuid.time_hi_and_version = high;
    uuid.clock_seq_hi_and_reserved = clock_high;
    uuid.clock_seq_low = clock_low;
    for (i = 0; i < 6; i++)
	uuid.node[i] = node[i];
    return uuid;
}

static void
print_uuid(const char *name, const afsUUID *uuid)
{
    int i;

    printf("%s=%08x-%04x-%04x-%02x%02x-", name, (unsigned)uuid->time_low, uuid->time_mid, uuid->time_hi_and_version,
	   uuid->clock_seq_hi_and_reserved & 0xff, uuid->clock_seq_low & 0xff);
    for (i = 0; i < 6; i++)
	printf("%02x", uuid->node[i] & 0xff);
    printf("\n");
}

static void
print_server(const char *name, const PartitionServer *server)
{
    struct in_addr address;

    print_uuid(name, &server->uuid);
    address.s_addr = htonl(server->address);
    printf("%s.address=%s\n", name, inet_ntoa(address));
}

static void
print_object(const PartitionObject *object)
{
    print_uuid("uuid", &object->uuid);
    printf("name=%s\nflags=%d\nepoch=%" PRIu64 "\n", object->name, object->flags, (uint64_t)object->epoch);
    print_server("owner", &object->owner);
    print_server("last_owner", &object->last_owner);
    printf("number=%d\nstate=%d\nbackend=%s\n", object->number, object->state, object->backend);
    printf("size=%" PRIu64 "\nfree=%" PRIu64 "\n", (uint64_t)object->size, (uint64_t)object->free);
    printf("since_claim=%d\n", object->tenure.since >= object->changed);
    print_uuid("request", &object->tenure.request);
    printf("reason=%d\ntext=%s\n", object->tenure.reason, object->tenure.text);
    printf("heartbeat_age=%u\nlease=%u\n", object->tenure.heartbeat_age, object->tenure.lease);
}

/* Begins the lines of one call; says whether there is a reply to print. */
static int
said(const char *call, int code)
{
    printf("%s\n", call);
    if (code)
	printf("code=%d\n", code);
    return code == 0;
}

static void
print_outcome(const char *call, int code, const PartitionOutcome *outcome)
{
    if (!said(call, code))
	return;
    printf("result=%d\n", outcome->result);
    print_object(&outcome->object);
}

static PartitionRequest
request(const char *id, int reason, char *text)
{
    PartitionRequest made;

    made.id = parsed(id);
    made.reason = reason;
    made.text = text;
    return made;
}

static void
print_subject(const PartitionSubject *subject)
{
    printf("subject=%d\n", subject->kind);
    switch (subject->kind) {
    case PSUBJECT_SERVER:
	print_server("server", &subject->PartitionSubject_u.server.server);
	break;
    case PSUBJECT_PARTITION:
	print_uuid("partition", &subject->PartitionSubject_u.partition.partition);
	break;
    case PSUBJECT_DEFINITION:
	print_uuid("partition", &subject->PartitionSubject_u.definition.partition);
	print_server("server", &subject->PartitionSubject_u.definition.server);
	break;
    case PSUBJECT_VOLUME:
	printf("volume=%s %u\n", subject->PartitionSubject_u.volume.name, subject->PartitionSubject_u.volume.ids[0]);
	break;
    case PSUBJECT_SETTING:
	printf("setting=%s\n", subject->PartitionSubject_u.setting.name);
	break;
    }
}

static void
list_objects(const char *call, PartitionSelector *selector, int limit)
{
    PartitionObjects objects;
    afsUUID after = nil, next;
    unsigned int i;

    do {
	memset(&objects, 0, sizeof objects);
	if (!said(call, VLP_ListPartitions(vl, selector, &after, limit, &objects, &next)))
	    return;
	for (i = 0; i < objects.PartitionObjects_len; i++)
	    print_object(&objects.PartitionObjects_val[i]);
	print_uuid("next", &next);
	after = next;
    } while (memcmp(&next, &nil, sizeof nil) != 0);
}

int
main(int argc, char **argv)
{
    struct rx_securityClass *null;
    PartitionServer server, other;
    PartitionRequest wish;
    PartitionOutcome outcome;
    PartitionObject object;
    PartitionSelector selector;
    afsUUID partition;
    afs_uint32 revision32;
    afs_uint64 bits, revision, oldest, next_key;
    unsigned int i, j;

    if (argc != 7 || rx_Init(0) != 0)
	return 2;
    null = rxnull_NewClientSecurityObject();
    vl = rx_NewConnection(inet_addr(argv[1]), htons(atoi(argv[2])), VL_SERVICE, null, RX_SECIDX_NULL);
    rx_SetConnDeadTime(vl, 10);
    memset(&server, 0, sizeof server);
    memset(&other, 0, sizeof other);
    server.uuid = parsed(argv[3]);
    other.uuid = parsed(argv[4]);
    partition = parsed(argv[5]);

    if (said("PartitionCapabilities", VLP_PartitionCapabilities(vl, &revision32, &bits)))
	printf("revision=%u\nbits=%" PRIu64 "\n", revision32, (uint64_t)bits);

    {
	PartitionDefinition definition;
	PartitionDescription description;

	definition.partition = partition;
	definition.server = server;
	definition.number = 7;
	definition.path = "/disks/caf\303\251";
	definition.priority = -3;
	description.name = "disk";
	description.backend = "namei";
	description.flags = PDEF_NEW | PDEF_ADOPT;
	wish = request("00000000-0000-0000-0000-000000000001", PREASON_OPERATOR, "define");
	memset(&outcome, 0, sizeof outcome);
	print_outcome("DefinePartition", VLP_DefinePartition(vl, &definition, &description, &wish, &outcome), &outcome);
	definition.server = other;
	definition.number = 8;
	memset(&outcome, 0, sizeof outcome);
	print_outcome("DefinePartition", VLP_DefinePartition(vl, &definition, &description, &wish, &outcome), &outcome);
    }
    {
	PartitionClaim claim;

	memset(&claim, 0, sizeof claim);
	claim.partition = partition;
	claim.server = server;
	claim.request = request("00000000-0000-0000-0000-000000000002", PREASON_MOUNT, "claim");
	claim.label_epoch = 0x123456789aULL;
	claim.heartbeat_age = 1500;
	claim.lease = 2500;
	memset(&outcome, 0, sizeof outcome);
	print_outcome("ClaimPartition", VLP_ClaimPartition(vl, &claim, &outcome), &outcome);
	memset(&outcome, 0, sizeof outcome);
	print_outcome("ClaimPartition", VLP_ClaimPartition(vl, &claim, &outcome), &outcome);
	claim.request.id = parsed("00000000-0000-0000-0000-000000000003");
	memset(&outcome, 0, sizeof outcome);
	print_outcome("ClaimPartition", VLP_ClaimPartition(vl, &claim, &outcome), &outcome);
    }
    {
	PartitionReport report[2];
	PartitionReports reports;
	PartitionVerdicts verdicts;
	PartitionObjects besides;

	memset(report, 0, sizeof report);
	report[0].uuid = partition;
	report[0].number = 7;
	report[0].epoch = 0x123456789bULL;
	report[0].state = PSTATE_MOUNTED;
	report[0].backend = "namei";
	report[0].size = 0x200000000ULL;
	report[0].free = 0x100000001ULL;
	report[1].uuid = other.uuid;
	report[1].number = 3;
	report[1].backend = "";
	reports.PartitionReports_len = 2;
	reports.PartitionReports_val = report;
	memset(&verdicts, 0, sizeof verdicts);
	memset(&besides, 0, sizeof besides);
	if (said("RegisterPartitions", VLP_RegisterPartitions(vl, &server.uuid, &reports, &verdicts, &besides))) {
	    for (i = 0; i < verdicts.PartitionVerdicts_len; i++) {
		PartitionVerdict *verdict = &verdicts.PartitionVerdicts_val[i];

		print_uuid("uuid", &verdict->uuid);
		printf("verdict=%d\nepoch=%" PRIu64 "\nnumber=%d\n", verdict->verdict, (uint64_t)verdict->epoch,
		       verdict->number);
		print_server("owner", &verdict->owner);
	    }
	    printf("besides=%u\n", besides.PartitionObjects_len);
	}
    }
    memset(&object, 0, sizeof object);
    if (said("GetPartition", VLP_GetPartition(vl, &partition, &object)))
	print_object(&object);
    memset(&object, 0, sizeof object);
    if (said("GetPartition", VLP_GetPartition(vl, &nil, &object)))
	print_object(&object);

    memset(&selector, 0, sizeof selector);
    selector.kind = PSELECT_ALL;
    list_objects("ListPartitions", &selector, 1);
    selector.kind = PSELECT_OWNER;
    selector.PartitionSelector_u.owned.server = server;
    list_objects("ListPartitions", &selector, 0);
    selector.kind = PSELECT_DEFINED;
    selector.PartitionSelector_u.defined.server = other;
    list_objects("ListPartitions", &selector, 0);
    selector.kind = 99;
    selector.PartitionSelector_u.other.PartitionOther_len = 4;
    selector.PartitionSelector_u.other.PartitionOther_val = "more";
    list_objects("ListPartitions", &selector, 0);
    {
	PartitionDefinitions definitions;
	PartitionPlace after, next;

	memset(&after, 0, sizeof after);
	memset(&definitions, 0, sizeof definitions);
	selector.kind = PSELECT_PARTITION;
	selector.PartitionSelector_u.named.partition = partition;
	if (said("ListDefinitions", VLP_ListDefinitions(vl, &selector, &after, 0, &definitions, &next)))
	    for (i = 0; i < definitions.PartitionDefinitions_len; i++) {
		PartitionDefinition *definition = &definitions.PartitionDefinitions_val[i];

		print_uuid("partition", &definition->partition);
		print_server("server", &definition->server);
		printf("number=%d\npath=%s\npriority=%d\n", definition->number, definition->path, definition->priority);
	    }
    }
    {
	PartitionVolumes volumes;

	memset(&volumes, 0, sizeof volumes);
	if (said("ListPartitionVolumes", VLP_ListPartitionVolumes(vl, &partition, 0, 0, &volumes, &next_key))) {
	    for (i = 0; i < volumes.PartitionVolumes_len; i++) {
		PartitionVolume *volume = &volumes.PartitionVolumes_val[i];

		printf("name=%s\nids=%u %u %u\nflags=%d\nvlsf=%d\nsites=%d\n", volume->name, volume->ids[0],
		       volume->ids[1], volume->ids[2], volume->flags, volume->vlsf, volume->sites);
	    }
	    printf("next=%" PRIu64 "\n", (uint64_t)next_key);
	}
    }
    {
	PartitionEntry entry;

	memset(&entry, 0, sizeof entry);
	if (said("GetEntryP", VLP_GetEntryP(vl, argv[6], &entry))) {
	    printf("name=%s\nids=%u %u %u\nclone_id=%u\nflags=%d\n", entry.name, entry.ids[0], entry.ids[1],
		   entry.ids[2], entry.clone_id, entry.flags);
	    for (i = 0; i < entry.sites.PartitionSites_len; i++) {
		PartitionSite *site = &entry.sites.PartitionSites_val[i];

		print_uuid("partition", &site->partition);
		print_server("server", &site->server);
		printf("epoch=%" PRIu64 "\nnumber=%d\nvlsf=%d\nflags=%d\nstate=%d\n", (uint64_t)site->epoch,
		       site->number, site->vlsf, site->flags, site->state);
	    }
	}
    }
    {
	PartitionRelease release;

	memset(&release, 0, sizeof release);
	release.partition = partition;
	release.server = server;
	release.request = request("00000000-0000-0000-0000-000000000004", PREASON_MOVE, "move");
	release.epoch = 0x123456789bULL;
	release.successor = other;
	memset(&outcome, 0, sizeof outcome);
	print_outcome("ReleasePartition", VLP_ReleasePartition(vl, &release, &outcome), &outcome);
    }
    wish = request("00000000-0000-0000-0000-000000000005", PREASON_OPERATOR, "remove");
    memset(&outcome, 0, sizeof outcome);
    print_outcome("RemoveDefinition", VLP_RemoveDefinition(vl, &partition, &other, &wish, &outcome), &outcome);
    memset(&outcome, 0, sizeof outcome);
    print_outcome("RemoveDefinition", VLP_RemoveDefinition(vl, &partition, &server, &wish, &outcome), &outcome);
    {
	PartitionWatch watch;
	PartitionChanges changes;

	memset(&watch, 0, sizeof watch);
	memset(&changes, 0, sizeof changes);
	if (said("WatchChanges", VLP_WatchChanges(vl, &watch, &changes, &revision, &oldest))) {
	    printf("revision=%" PRIu64 "\noldest=%" PRIu64 "\n", (uint64_t)revision, (uint64_t)oldest);
	    for (i = 0; i < changes.PartitionChanges_len; i++) {
		PartitionChange *change = &changes.PartitionChanges_val[i];

		printf("change=%" PRIu64 " %s %s %d\n", (uint64_t)change->revision, change->who, change->operation,
		       change->flags);
		for (j = 0; j < change->rows.PartitionRows_len; j++) {
		    print_subject(&change->rows.PartitionRows_val[j].subject);
		    printf("before=%zu\nafter=%zu\n", strlen(change->rows.PartitionRows_val[j].before),
			   strlen(change->rows.PartitionRows_val[j].after));
		}
	    }
	}
    }
    return 0;
}
