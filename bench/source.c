/* A provider of streams, faster than any gateway: one thread, epoll, no allocation once it runs.

   `source PORT` answers every POST with a chat completion as server-sent events, chunked (RFC 9112, 7.1). A request
   whose body holds `paced-FIRST-GAP-TOKENS` gets TOKENS events, the first after FIRST milliseconds and one every GAP
   milliseconds then; any other gets BURST events at once, in one write. Both end with usage and `[DONE]`. */

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BURST 200
#define TOKENS 100 /* how many differ */
#define MAX_FD 16384
#define REQUEST 65536 /* a head and a body; longer requests are refused by closing */

#define EVENT(delta, finish)                                                                            \
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"configured\"," \
    "\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish "}]}\n\n"

/* nginx holds streams back unless it is told not to. */
static const char HEAD[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-accel-buffering: no\r\n"
                           "transfer-encoding: chunked\r\n\r\n";
/* Some gateways take a model that repeats itself for one that hangs. */
static const char TOKEN[] = EVENT("{\"content\":\" token-%02d\"}", "null");
static const char LAST[] =
    EVENT("{}", "\"stop\"")
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"configured\","
    "\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":64,\"total_tokens\":73}}\n\n"
    "data: [DONE]\n\n";

typedef struct {
    char *request;   /* what has been read of the request under way */
    size_t filled;
    int left;        /* events still to send; 0 is idle */
    int begun;       /* the head has been sent */
    double next;     /* when the next event is due, in seconds */
    double gap;
} Stream;

static Stream streams[MAX_FD];
static char token_chunk[TOKENS][1024], last_chunk[2048], burst[BURST * 1024];
static size_t token_size, last_size, burst_size;
static int poller, highest;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static size_t chunk(char *to, const char *text) {
    return (size_t)sprintf(to, "%zx\r\n%s\r\n", strlen(text), text);
}

static void drop(int fd) {
    close(fd);
    free(streams[fd].request);
    memset(&streams[fd], 0, sizeof(Stream));
}

/* A reader too slow for a whole write gets the rest here: the source waits for it, which a measurement shows. */
static int put(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent > 0) {
            data += sent;
            size -= (size_t)sent;
        } else if (sent < 0 && errno == EAGAIN) {
            usleep(50);
        } else {
            drop(fd);
            return 0;
        }
    }
    return 1;
}

static void answer(int fd, const char *body) {
    Stream *s = &streams[fd];
    double first, gap;
    int tokens;
    const char *pace = strstr(body, "paced-");
    if (pace && sscanf(pace, "paced-%lf-%lf-%d", &first, &gap, &tokens) == 3) {
        s->left = tokens;
        s->begun = 0;
        s->gap = gap / 1000;
        s->next = now() + first / 1000;
    } else {
        put(fd, burst, burst_size);
    }
}

static void take(int fd) {
    Stream *s = &streams[fd];
    if (!s->request) s->request = malloc(REQUEST);
    ssize_t got = recv(fd, s->request + s->filled, REQUEST - 1 - s->filled, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        drop(fd);
        return;
    }
    s->filled += (size_t)got;
    s->request[s->filled] = 0;
    char *end = strstr(s->request, "\r\n\r\n");
    if (!end) return;
    char *length = strcasestr(s->request, "content-length:");
    size_t body = length && length < end ? strtoul(length + 15, 0, 10) : 0;
    if (s->filled < (size_t)(end + 4 - s->request) + body) return;
    s->filled = 0;
    answer(fd, end + 4);
}

static void tick(double t) {
    for (int fd = 0; fd <= highest; fd++) {
        Stream *s = &streams[fd];
        while (s->left && s->next <= t) {
            if (!s->begun) {
                s->begun = 1;
                if (!put(fd, HEAD, sizeof HEAD - 1)) break;
            }
            if (!put(fd, token_chunk[s->left % TOKENS], token_size)) break;
            s->next += s->gap;
            if (--s->left == 0) put(fd, last_chunk, last_size);
        }
    }
}

static void welcome(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MAX_FD) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (fd > highest) highest = fd;
        struct epoll_event wanted = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &wanted);
    }
}

int main(int count, char **arguments) {
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (count != 2) {
        fprintf(stderr, "usage: source PORT\n");
        return 2;
    }
    at.sin_port = htons((unsigned short)atoi(arguments[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 4096)) {
        perror("source");
        return 1;
    }
    for (int token = 0; token < TOKENS; token++) {
        char text[512];
        snprintf(text, sizeof text, TOKEN, token);
        token_size = chunk(token_chunk[token], text);
    }
    last_size = chunk(last_chunk, LAST);
    last_size += (size_t)sprintf(last_chunk + last_size, "0\r\n\r\n");
    burst_size = (size_t)sprintf(burst, "%s", HEAD);
    for (int event = 0; event < BURST; event++) {
        memcpy(burst + burst_size, token_chunk[event % TOKENS], token_size);
        burst_size += token_size;
    }
    memcpy(burst + burst_size, last_chunk, last_size);
    burst_size += last_size;

    poller = epoll_create1(0);
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = listener}, ready[512];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &wanted);
    for (;;) {
        int many = epoll_wait(poller, ready, 512, 1); /* a millisecond is how exact the pace is */
        for (int each = 0; each < many; each++) {
            if (ready[each].data.fd == listener) welcome(listener);
            else take(ready[each].data.fd);
        }
        tick(now());
    }
}
