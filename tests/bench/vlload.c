/* vlload: calls of a vlserver a second, from a number of callers that each wait for their answer.
 *
 *   vlload ADDRESS PORT CALLERS SECONDS NAME                  GetEntryByNameU of this name, again and again
 *   vlload ADDRESS PORT CALLERS SECONDS names PREFIX COUNT    GetEntryByNameU of PREFIX and a random number below COUNT
 *   vlload ADDRESS PORT CALLERS SECONDS ids FIRST COUNT       GetEntryByIDN of FIRST + 3 * a random number below COUNT
 *   vlload ADDRESS PORT CALLERS SECONDS create PREFIX FIRST   CreateEntryN of PREFIX and FIRST, FIRST + 1, ...; their ids
 *                                                             are FIRST_ID + 3 * the number and the two above it
 *
 * Prints: answers, refusals, packets sent again.
 *
 * Speaks just enough Rx over a plain UDP socket to be cheap beside the server: four callers share a connection, as the
 * calls of one client do; the next call on a channel acknowledges the answer to the one before.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DATA = 1, ABORT = 4, CLIENT_INITIATED = 1, LAST_PACKET = 4, HEADER = 28, SERVICE_VL = 52 };
enum { GETENTRYBYIDN = 518, CREATEENTRYN = 517, GETENTRYBYNAMEU = 527, MOST_CALLERS = 1024, RESEND_MS = 500 };
enum { LONGEST_NAME = 64, NAME_WORDS = 65, ENTRY_WORDS = 119, SITES = 13, RWVOL = 4, RWEXISTS = 0x1000 };
enum { FIRST_ID = 0x20000000, FILE_SERVER = 0x0a000001 };

struct caller {
    uint32_t call, serial, number;
    int64_t sent_ms;
};

static struct caller callers[MOST_CALLERS];
static unsigned char request[HEADER + 4 * (1 + ENTRY_WORDS)];
static size_t request_size;
static uint32_t epoch, first_cid;
static enum { ONE, NAMES, IDS, CREATE } work;
static const char *prefix;
static uint32_t first, count_of_entries;
static uint64_t random_state = 88172645463325252u;
static int sock;

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void put(size_t word, uint32_t value)
{
    value = htonl(value);
    memcpy(request + 4 * word, &value, 4);
}

static uint32_t get(const unsigned char *packet, size_t word)
{
    uint32_t value;
    memcpy(&value, packet + 4 * word, 4);
    return ntohl(value);
}

/* xorshift64 */
static uint32_t random_below(uint32_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 16) % limit;
}

/* What the caller's next call is about; the same when it is sent again. */
static uint32_t next_number(void)
{
    return work == CREATE ? first++ : work == ONE ? 0 : random_below(count_of_entries);
}

static void write_name_request(const char *name)
{
    size_t size = strlen(name);
    memset(request + HEADER, 0, sizeof request - HEADER);
    put(7, GETENTRYBYNAMEU);
    put(8, size);
    memcpy(request + HEADER + 8, name, size);
    request_size = HEADER + 8 + (size + 3) / 4 * 4;
}

static void write_request(uint32_t number)
{
    char name[LONGEST_NAME + 1];
    if (work == ONE)
        return write_name_request(prefix);
    snprintf(name, sizeof name, "%s%u", prefix, number);
    if (work == NAMES)
        return write_name_request(name);
    if (work == IDS) {
        put(7, GETENTRYBYIDN);
        put(8, first + 3 * number);
        put(9, -1); /* of any type */
        request_size = HEADER + 12;
        return;
    }
    memset(request + HEADER, 0, sizeof request - HEADER);
    put(7, CREATEENTRYN);
    for (size_t i = 0; name[i]; i++)
        put(8 + i, name[i]);
    size_t at = 8 + NAME_WORDS;
    put(at, 1); /* site */
    put(at + 1, FILE_SERVER);
    put(at + 1 + 2 * SITES, RWVOL);
    for (uint32_t kind = 0; kind < 3; kind++)
        put(at + 1 + 3 * SITES + kind, FIRST_ID + 3 * number + kind);
    put(at + 1 + 3 * SITES + 4, RWEXISTS);
    request_size = sizeof request;
}

static void transmit(uint32_t index, int64_t now)
{
    struct caller *caller = &callers[index];
    if (work != ONE)
        write_request(caller->number);
    put(1, first_cid + index); /* connection in the upper bits, channel in the lower two */
    put(2, caller->call);
    put(4, ++caller->serial);
    caller->sent_ms = now;
    if (send(sock, request, request_size, 0) < 0)
        perror("vlload: send");
}

int main(int argc, char **argv)
{
    if (argc == 6)
        work = ONE, prefix = argv[5];
    else if (argc == 8 && !strcmp(argv[5], "names"))
        work = NAMES, prefix = argv[6], count_of_entries = atoi(argv[7]);
    else if (argc == 8 && !strcmp(argv[5], "ids"))
        work = IDS, prefix = "", first = strtoul(argv[6], NULL, 0), count_of_entries = atoi(argv[7]);
    else if (argc == 8 && !strcmp(argv[5], "create"))
        work = CREATE, prefix = argv[6], first = atoi(argv[7]);
    else
        return fprintf(stderr, "usage: vlload ADDRESS PORT CALLERS SECONDS WORK; what WORK is: see vlload.c\n"), 2;
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    uint32_t count = atoi(argv[3]);
    if (inet_pton(AF_INET, argv[1], &server.sin_addr) != 1 || !count || count > MOST_CALLERS ||
        strlen(prefix) > LONGEST_NAME || ((work == NAMES || work == IDS) && !count_of_entries))
        return fprintf(stderr, "vlload: an address, 1 to %d callers, a name of 64 bytes at most\n", MOST_CALLERS), 2;
    sock = socket(AF_INET, SOCK_DGRAM, 0);
    if (sock < 0 || connect(sock, (struct sockaddr *)&server, sizeof server) < 0)
        return perror("vlload"), 1;

    epoch = 0x80000000u | (uint32_t)time(NULL);
    first_cid = ((uint32_t)getpid() << 12) & 0x7ffff000u;
    put(0, epoch);
    put(3, 1); /* the only packet of each call */
    request[20] = DATA;
    request[21] = CLIENT_INITIATED | LAST_PACKET;
    request[27] = SERVICE_VL;
    write_request(0);

    uint64_t answers = 0, refusals = 0, again = 0;
    int64_t start = now_ms(), now = start, end = start + (int64_t)(atof(argv[4]) * 1000), looked = start;
    for (uint32_t i = 0; i < count; i++) {
        callers[i].call = 1;
        callers[i].number = next_number();
        transmit(i, now);
    }
    while (now < end) {
        struct pollfd ready = {.fd = sock, .events = POLLIN};
        poll(&ready, 1, 50);
        now = now_ms();
        unsigned char packet[2048];
        ssize_t size;
        while ((size = recv(sock, packet, sizeof packet, MSG_DONTWAIT)) >= 0) {
            uint32_t index = size >= HEADER ? get(packet, 1) - first_cid : count;
            if (index >= count || get(packet, 0) != epoch || get(packet, 2) != callers[index].call)
                continue;
            if (packet[20] != ABORT && !(packet[20] == DATA && packet[21] & LAST_PACKET))
                continue;
            if (packet[20] == ABORT)
                refusals++;
            else
                answers++;
            callers[index].call++;
            callers[index].number = next_number();
            transmit(index, now);
        }
        if (now - looked >= RESEND_MS / 5) {
            looked = now;
            for (uint32_t i = 0; i < count; i++)
                if (now - callers[i].sent_ms >= RESEND_MS) {
                    again++;
                    transmit(i, now);
                }
        }
    }
    printf("%llu %llu %llu\n", (unsigned long long)answers, (unsigned long long)refusals, (unsigned long long)again);
    return 0;
}
